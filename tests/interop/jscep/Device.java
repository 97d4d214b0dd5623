import java.io.IOException;
import java.io.StringWriter;
import java.math.BigInteger;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Date;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;
import org.bouncycastle.asn1.DERPrintableString;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.openssl.PEMKeyPair;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;
import org.jscep.client.Client;
import org.jscep.client.EnrollmentResponse;
import org.jscep.client.verification.MessageDigestCertificateVerifier;
import org.jscep.transaction.OperationFailureException;
import org.jscep.transaction.TransactionId;

/**
 * A device that does one thing with jscep and ends: what a program with that library would do.
 *
 * <p>Its directory holds key.pem, self.pem (self-signed), and cert.pem once there is one. The last
 * line on stdout is SUCCESS, PENDING with the transactionID, or FAILURE with the failInfo.
 */
public final class Device {
    private static final X500Principal SUBJECT = new X500Principal("CN=device,O=Interop");

    private final Client client;
    private final Path directory;

    private Device(URL url, String fingerprint, Path directory) throws Exception {
        MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
        byte[] expected = HexFormat.of().parseHex(fingerprint);
        this.client = new Client(url, new MessageDigestCertificateVerifier(sha256, expected));
        this.directory = directory;
    }

    /** OPERATION URL FINGERPRINT DIRECTORY [ARGUMENT]. */
    public static void main(String[] arguments) throws Exception {
        URL url = URI.create(arguments[1]).toURL();
        Device device = new Device(url, arguments[2], Path.of(arguments[3]));
        String argument = arguments.length > 4 ? arguments[4] : "";
        System.exit(device.run(arguments[0], argument));
    }

    private int run(String operation, String argument) throws Exception {
        try {
            switch (operation) {
                case "caps":
                    System.out.println(client.getCaCapabilities());
                    return success();
                case "ca":
                    return all(client.getCaCertificate());
                case "enrol":
                    return enrol(argument);
                case "renew":
                    return renew(key("key.pem"), key("key.pem"));
                case "rekey":
                    return rekey();
                case "poll":
                    return poll(argument);
                case "cert":
                    return all(client.getCertificate(
                        certificate("cert.pem"), key("key.pem").getPrivate(), new BigInteger(argument, 16)));
                case "crl":
                    return crl();
                default:
                    throw new IllegalArgumentException(operation);
            }
        } catch (OperationFailureException refused) {
            return failure(refused);
        }
    }

    private int enrol(String challenge) throws Exception {
        if (!Files.exists(directory.resolve("key.pem"))) {
            KeyPair made = newKey();
            write("key.pem", made.getPrivate());
            write("self.pem", selfSigned(made));
        }
        KeyPair key = key("key.pem");
        return keep(client.enrol(certificate("self.pem"), key.getPrivate(), request(key, challenge)));
    }

    /** Ask for a new certificate for a key, signed with the present one. */
    private int renew(KeyPair present, KeyPair wanted) throws Exception {
        return keep(client.enrol(certificate("cert.pem"), present.getPrivate(), request(wanted, "")));
    }

    private int rekey() throws Exception {
        KeyPair made = newKey();
        int status = renew(key("key.pem"), made);
        if (status == 0) {
            write("key.pem", made.getPrivate());
        }
        return status;
    }

    private int poll(String transactionId) throws Exception {
        return keep(client.poll(
            certificate("self.pem"),
            key("key.pem").getPrivate(),
            SUBJECT,
            new TransactionId(transactionId.getBytes("US-ASCII"))));
    }

    private int crl() throws Exception {
        X509Certificate own = certificate("cert.pem");
        X509CRL crl = client.getRevocationList(
            own, key("key.pem").getPrivate(), own.getIssuerX500Principal(), own.getSerialNumber());
        System.out.print(pem(crl));
        return success();
    }

    /** Keep the first certificate of a reply: what a program does that trusts RFC 8894 3.3.2. */
    private int keep(EnrollmentResponse answer) throws Exception {
        if (answer.isFailure()) {
            System.out.println("FAILURE " + answer.getFailInfo().name());
            return 1;
        }
        if (answer.isPending()) {
            System.out.println("PENDING " + answer.getTransactionId());
            return 3;
        }
        write("cert.pem", answer.getCertStore().getCertificates(null).iterator().next());
        return success();
    }

    private int all(CertStore store) throws Exception {
        for (Certificate each : store.getCertificates(null)) {
            System.out.print(pem(each));
        }
        return success();
    }

    private static int success() {
        System.out.println("SUCCESS");
        return 0;
    }

    private static int failure(OperationFailureException refused) {
        System.out.println("FAILURE " + refused.getFailInfo().name());
        return 1;
    }

    private static KeyPair newKey() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        return generator.generateKeyPair();
    }

    private static ContentSigner signer(PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder("SHA256withRSA").build(key);
    }

    private static X509Certificate selfSigned(KeyPair key) throws Exception {
        Instant now = Instant.now();
        JcaX509v3CertificateBuilder builder = new JcaX509v3CertificateBuilder(
            SUBJECT,
            BigInteger.ONE,
            Date.from(now.minus(1, ChronoUnit.HOURS)),
            Date.from(now.plus(1, ChronoUnit.DAYS)),
            SUBJECT,
            key.getPublic());
        return new JcaX509CertificateConverter().getCertificate(builder.build(signer(key.getPrivate())));
    }

    private static PKCS10CertificationRequest request(KeyPair key, String challenge) throws Exception {
        JcaPKCS10CertificationRequestBuilder builder =
            new JcaPKCS10CertificationRequestBuilder(SUBJECT, key.getPublic());
        if (!challenge.isEmpty()) {
            builder.addAttribute(
                PKCSObjectIdentifiers.pkcs_9_at_challengePassword, new DERPrintableString(challenge));
        }
        ExtensionsGenerator extensions = new ExtensionsGenerator();
        GeneralName name = new GeneralName(GeneralName.dNSName, "device.example");
        extensions.addExtension(Extension.subjectAlternativeName, false, new GeneralNames(name));
        builder.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, extensions.generate());
        return builder.build(signer(key.getPrivate()));
    }

    private KeyPair key(String name) throws Exception {
        return new JcaPEMKeyConverter().getKeyPair((PEMKeyPair) read(name));
    }

    private X509Certificate certificate(String name) throws Exception {
        return new JcaX509CertificateConverter().getCertificate((X509CertificateHolder) read(name));
    }

    private Object read(String name) throws IOException {
        try (PEMParser parser = new PEMParser(Files.newBufferedReader(directory.resolve(name)))) {
            return parser.readObject();
        }
    }

    private void write(String name, Object value) throws IOException {
        Files.writeString(directory.resolve(name), pem(value));
    }

    private static String pem(Object value) throws IOException {
        StringWriter text = new StringWriter();
        try (JcaPEMWriter writer = new JcaPEMWriter(text)) {
            writer.writeObject(value);
        }
        return text.toString();
    }
}
