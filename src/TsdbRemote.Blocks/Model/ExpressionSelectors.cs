namespace TsdbRemote.Blocks.Model;

/// <summary>A vector selector of an expression.</summary>
/// <param name="Place">Where it begins, as errors name it: line and column from 1.</param>
/// <param name="Terms">Its conditions, the name before the braces last.</param>
public sealed record ExpressionSelector(string Place, IReadOnlyList<SelectorTerm> Terms);

/// <summary>Finds the vector selectors of a PromQL expression, such as the two of <c>sum by (le) (rate(a{b="c"}[5m])) / on (le) d offset 1h</c>.</summary>
/// <remarks>
/// <code>
/// expression   operand modifier* ( operator operand modifier* )*
/// operand      ( + | - )* ( number | string | selector | '(' expression ')' | call )
/// call         name '(' ( expression ( ',' expression )* )? ')'       of an aggregation also with: ( by | without ) list, before or behind the parentheses
/// modifier     '[' range ( ':' step? )? ']' | offset ( + | - )? duration | @ ( time | start ( ) | end ( ) )
/// operator     one of PromQL's, then: bool? ( ( on | ignoring ) list ( ( group_left | group_right ) list? )? )?
/// </code>
/// Checks the form and not the meaning: whether a function exists, takes so many arguments and of that type, is for who evaluates the expression. Errors have Prometheus'
/// words where it has some for the form (prometheus: promql/parser). Bounded by <see cref="SelectorParser.MaxBytes"/> and <see cref="MaxSelectors"/>; no recursion.
/// </remarks>
public static class ExpressionSelectors
{
    /// <summary>Most selectors of an expression.</summary>
    public const int MaxSelectors = 100;

    /// <summary>Finds them, in the order in which they are written.</summary>
    /// <exception cref="SelectorException">The text is no expression, or too long.</exception>
    public static IReadOnlyList<ExpressionSelector> Find(string expression)
    {
        ArgumentNullException.ThrowIfNull(expression);
        return new Scan(SelectorParser.Utf8Of(expression)).Run();
    }

    /// <summary>What stands before a modifier.</summary>
    private enum OperandKind
    {
        Selector,
        Range,
        Other,
    }

    /// <summary>The operand that was read last, which modifiers are of.</summary>
    private record struct Operand(OperandKind Kind, int Position, bool HasOffset, bool HasTime);

    /// <summary>An open parenthesis.</summary>
    /// <param name="Position">Where its expression begins.</param>
    /// <param name="IsCall">Commas may stand in it.</param>
    /// <param name="MayBeGrouped">An aggregation that has no grouping yet.</param>
    private readonly record struct Open(int Position, bool IsCall, bool MayBeGrouped);

    private sealed class Scan(byte[] text)
    {
        private readonly Stack<Open> _open = new();
        private readonly List<ExpressionSelector> _found = [];
        private SelectorLexer _lexer = new(text);
        private SelectorToken _token;
        private Operand _operand;

        public List<ExpressionSelector> Run()
        {
            Advance();
            if (_token.Kind == SelectorTokenKind.End) throw SelectorLexer.Nowhere("no expression found in input");
            do
            {
                ReadOperand();
                while (TryReadModifier() || TryClose())
                {
                }
            }
            while (TryReadOperator());
            return _found;
        }

        private static bool IsWord(SelectorToken token, string word) =>
            token.Kind is SelectorTokenKind.Name or SelectorTokenKind.Other && token.Text.Equals(word, StringComparison.OrdinalIgnoreCase);

        private static bool IsSign(SelectorToken token) => token.Kind == SelectorTokenKind.Other && token.Text is "+" or "-";

        private static bool IsSymbol(SelectorToken token, char symbol) => token.Kind == SelectorTokenKind.Other && token.Text.Length == 1 && token.Text[0] == symbol;

        private static string Quote(string name) => $"\"{LabelText.Escape(System.Text.Encoding.UTF8.GetBytes(name), int.MaxValue)}\"";

        private void Advance() => _token = _lexer.NextOutside();

        /// <summary>Reads up to the end of the next operand; parentheses and calls are left open.</summary>
        private void ReadOperand()
        {
            while (true)
            {
                int start = _token.Position;
                if (IsSign(_token))
                {
                    Advance();
                }
                else if (IsSymbol(_token, '('))
                {
                    _open.Push(new Open(start, IsCall: false, MayBeGrouped: false));
                    Advance();
                }
                else if (_token.Kind is SelectorTokenKind.Number or SelectorTokenKind.Text)
                {
                    _operand = new Operand(OperandKind.Other, start, false, false);
                    Advance();
                    return;
                }
                else if (_token.Kind == SelectorTokenKind.LeftBrace)
                {
                    ReadSelector(name: null, start);
                    return;
                }
                else if (_token.Kind != SelectorTokenKind.Name)
                {
                    throw _lexer.Unexpected(_token);
                }
                else if (!TryOpenCall(out bool isEmpty))
                {
                    return;
                }
                else if (isEmpty)
                {
                    return;
                }
            }
        }

        /// <summary>Reads a name, and the start of a call if it is that of one, else the selector.</summary>
        /// <param name="isEmpty">The call has no arguments and is read.</param>
        private bool TryOpenCall(out bool isEmpty)
        {
            SelectorToken name = _token;
            isEmpty = false;
            Advance();
            bool isAggregation = SelectorWords.IsAggregation(name.Text);
            bool isGrouped = isAggregation && TryReadGrouping();
            if (!IsSymbol(_token, '('))
            {
                if (isGrouped) throw _lexer.Unexpected(_token, " in aggregation");
                ReadSelector(name.Text, name.Position);
                return false;
            }

            Advance();
            _open.Push(new Open(name.Position, IsCall: true, isAggregation && !isGrouped));
            isEmpty = IsSymbol(_token, ')');
            if (isEmpty) Close();
            return true;
        }

        private void ReadSelector(string? name, int start)
        {
            var terms = new List<SelectorTerm>();
            if (_token.Kind == SelectorTokenKind.LeftBrace)
            {
                SelectorParser.ReadBraces(ref _lexer, terms);
                Advance();
            }

            string? known = name;
            foreach (SelectorTerm term in terms)
            {
                if (term.Name != "__name__" || (name is null && term.Type != MatcherType.Equal)) continue;
                if (known is not null) throw _lexer.Error(start, $"metric name must not be set twice: {Quote(known)} or {Quote(term.Value)}");
                known = term.Value;
            }

            if (name is not null) terms.Add(new SelectorTerm(MatcherType.Equal, "__name__", name));
            if (_found.Count == MaxSelectors) throw _lexer.Error(start, $"more than {MaxSelectors} selectors");
            _found.Add(new ExpressionSelector(_lexer.PlaceOf(start), terms));
            _operand = new Operand(OperandKind.Selector, start, false, false);
        }

        private bool TryReadModifier()
        {
            if (IsSymbol(_token, '[')) ReadRange();
            else if (IsWord(_token, "offset")) ReadOffset();
            else if (IsSymbol(_token, '@')) ReadTime();
            else return false;
            return true;
        }

        private void ReadRange()
        {
            bool isSubquery = _lexer.ReadRange();
            Advance();
            bool isBare = _operand is { Kind: OperandKind.Selector, HasOffset: false, HasTime: false };
            if (!isSubquery && !isBare)
            {
                throw _lexer.Error(_operand.Position, _operand.Kind == OperandKind.Selector
                    ? $"no {(_operand.HasOffset ? "offset" : "@")} modifiers allowed before range"
                    : "ranges only allowed for vector selectors");
            }

            _operand = new Operand(OperandKind.Range, _operand.Position, false, false);
        }

        private void ReadOffset()
        {
            Advance();
            if (IsSign(_token)) Advance();
            if (_token.Kind != SelectorTokenKind.Number) throw _lexer.Unexpected(_token, " in offset", "number or duration");
            Advance();
            if (_operand.HasOffset) throw _lexer.Error(_operand.Position, "offset may not be set multiple times");
            if (_operand.Kind == OperandKind.Other)
                throw _lexer.Error(_operand.Position, "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
            _operand.HasOffset = true;
        }

        private void ReadTime()
        {
            Advance();
            bool isEnd = IsWord(_token, "start") || IsWord(_token, "end");
            if (IsSign(_token)) Advance();
            if (!isEnd && _token.Kind != SelectorTokenKind.Number) throw _lexer.Unexpected(_token, " in @", "timestamp");
            Advance();
            if (isEnd)
            {
                foreach (char expected in "()")
                {
                    if (!IsSymbol(_token, expected)) throw _lexer.Unexpected(_token, " in @", $"\"{expected}\"");
                    Advance();
                }
            }

            if (_operand.HasTime) throw _lexer.Error(_operand.Position, "@ <timestamp> may not be set multiple times");
            if (_operand.Kind == OperandKind.Other)
                throw _lexer.Error(_operand.Position, "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
            _operand.HasTime = true;
        }

        private bool TryClose()
        {
            if (!IsSymbol(_token, ')')) return false;
            Close();
            return true;
        }

        /// <summary>Ends the innermost parenthesis; the lexer knows that there is one.</summary>
        private void Close()
        {
            Open closed = _open.Pop();
            Advance();
            if (closed.MayBeGrouped) TryReadGrouping();
            _operand = new Operand(OperandKind.Other, closed.Position, false, false);
        }

        /// <summary>Reads what stands between two operands.</summary>
        /// <returns>False at the end.</returns>
        private bool TryReadOperator()
        {
            if (_token.Kind == SelectorTokenKind.End) return false;
            SelectorToken found = _token;
            if (IsSymbol(found, ',') && _open.TryPeek(out Open open) && open.IsCall)
            {
                Advance();
                if (IsSymbol(_token, ')')) throw _lexer.Error(found.Position, "trailing commas not allowed in function call args");
                return true;
            }

            if (!SelectorWords.IsOperator(found)) throw _lexer.Unexpected(found);
            Advance();
            if (IsWord(_token, "bool")) Advance();
            if (!IsWord(_token, "on") && !IsWord(_token, "ignoring")) return true;
            Advance();
            ReadLabels();
            if (!IsWord(_token, "group_left") && !IsWord(_token, "group_right")) return true;
            Advance();
            if (IsSymbol(_token, '(')) ReadLabels();
            return true;
        }

        private bool TryReadGrouping()
        {
            if (!IsWord(_token, "by") && !IsWord(_token, "without")) return false;
            Advance();
            ReadLabels();
            return true;
        }

        private void ReadLabels()
        {
            const string Where = " in grouping opts";
            if (!IsSymbol(_token, '(')) throw _lexer.Unexpected(_token, Where, "\"(\"");
            Advance();
            while (!IsSymbol(_token, ')'))
            {
                bool isLabel = _token.Kind is SelectorTokenKind.Name or SelectorTokenKind.Text || SelectorWords.IsWord(_token);
                if (!isLabel) throw _lexer.Unexpected(_token, Where, "label");
                Advance();
                if (IsSymbol(_token, ')')) break;
                if (!IsSymbol(_token, ',')) throw _lexer.Unexpected(_token, Where, "\",\" or \")\"");
                Advance();
            }

            Advance();
        }
    }
}
