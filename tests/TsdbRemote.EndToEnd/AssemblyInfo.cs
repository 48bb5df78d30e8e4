// Most of these tests wait: for programs to start, for scrapes, for windows to end. Two processors do more of them at a time than xunit's one test for each.
[assembly: CollectionBehavior(MaxParallelThreads = 4)]
