using System.Formats.Asn1;
using System.Net;
using System.Security.Cryptography.X509Certificates;

namespace TsdbRemote.Access;

/// <summary>The alternative names of a certificate (RFC 5280, §4.2.1.6): DNS names, mail addresses, URIs, IP addresses.</summary>
internal static class SubjectNames
{
    private const string Extension = "2.5.29.17";

    // Context tags of GeneralName.
    private const int Mail = 1;
    private const int Dns = 2;
    private const int Uri = 6;
    private const int Ip = 7;

    /// <summary>The names; none of a certificate whose extension is broken.</summary>
    public static IReadOnlyList<string> Of(X509Certificate certificate)
    {
        X509Extension? extension = certificate is X509Certificate2 full ? full.Extensions[Extension] : null;
        if (extension is null) return [];
        var names = new List<string>();
        try
        {
            AsnReader list = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
            while (list.HasData)
            {
                Asn1Tag tag = list.PeekTag();
                if (tag.TagClass != TagClass.ContextSpecific || tag.TagValue is not (Mail or Dns or Uri or Ip)) list.ReadEncodedValue();
                else if (tag.TagValue == Ip) AddAddress(list.ReadOctetString(tag), names);
                else names.Add(list.ReadCharacterString(UniversalTagNumber.IA5String, tag));
            }
        }
        catch (AsnContentException)
        {
            return [];
        }

        return names;
    }

    private static void AddAddress(byte[] bytes, List<string> names)
    {
        if (bytes.Length is 4 or 16) names.Add(new IPAddress(bytes).ToString());
    }
}
