import java.io.IOException;
import java.io.StringWriter;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.cert.X509CRL;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Date;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509v2CRLBuilder;
import org.bouncycastle.cert.X509v3CertificateBuilder;
import org.bouncycastle.cert.jcajce.JcaX509CRLConverter;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509ExtensionUtils;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.jscep.server.ScepServlet;
import org.jscep.transaction.FailInfo;
import org.jscep.transaction.OperationFailureException;
import org.jscep.transaction.TransactionId;
import org.jscep.transport.response.Capability;
import org.jscep.util.CertificationRequestUtils;

/**
 * A CA over jscep's servlet: what a program with that library would do, and no more.
 *
 * <p>Its directory gets ca.pem and next.pem. Its challenge enrols; the same with "wait-" before it
 * enrols at the second poll. A certificate of its own renews without a challenge.
 */
public final class Authority extends ScepServlet {
    private static final long serialVersionUID = 1L;
    private static final X500Name NAME = new X500Name("CN=jscep CA,O=Interop");

    private final transient KeyPair key = newKey();
    private final transient X509Certificate ca = root(key);
    private final transient X509Certificate next = root(newKey());
    private final String challenge;
    private final transient Map<BigInteger, X509Certificate> issued = new ConcurrentHashMap<>();
    private final transient Map<TransactionId, PKCS10CertificationRequest> waiting = new ConcurrentHashMap<>();
    private final transient Set<TransactionId> polled = ConcurrentHashMap.newKeySet();

    private Authority(String challenge) throws Exception {
        this.challenge = challenge;
    }

    /** DIRECTORY CHALLENGE. Says its URL, and ends with its stdin. */
    public static void main(String[] arguments) throws Exception {
        Path directory = Path.of(arguments[0]);
        Authority authority = new Authority(arguments[1]);
        Files.writeString(directory.resolve("ca.pem"), pem(authority.ca));
        Files.writeString(directory.resolve("next.pem"), pem(authority.next));
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        server.addConnector(connector);
        ServletContextHandler handler = new ServletContextHandler();
        handler.addServlet(new ServletHolder(authority), "/scep");
        server.setHandler(handler);
        server.start();
        System.out.println("http://127.0.0.1:" + connector.getLocalPort() + "/scep");
        while (System.in.read() >= 0) {}
        server.stop();
    }

    @Override
    protected Set<Capability> doCapabilities(String identifier) {
        // Not SCEP_STANDARD: the servlet knows no RenewalReq, and answers it with HTTP 500.
        return EnumSet.complementOf(EnumSet.of(Capability.SCEP_STANDARD, Capability.UPDATE));
    }

    @Override
    protected List<X509Certificate> doGetCaCertificate(String identifier) {
        return List.of(ca);
    }

    @Override
    protected List<X509Certificate> getNextCaCertificate(String identifier) {
        return List.of(next);
    }

    @Override
    protected List<X509Certificate> doGetCert(X500Name issuer, BigInteger serial) {
        X509Certificate found = issued.get(serial);
        return found == null ? List.of() : List.of(found);
    }

    @Override
    protected X509CRL doGetCrl(X500Name issuer, BigInteger serial) throws Exception {
        X509v2CRLBuilder builder = new X509v2CRLBuilder(NAME, Date.from(Instant.now()));
        builder.setNextUpdate(Date.from(Instant.now().plus(1, ChronoUnit.DAYS)));
        return new JcaX509CRLConverter().getCRL(builder.build(signer(key.getPrivate())));
    }

    @Override
    protected List<X509Certificate> doEnrol(
            PKCS10CertificationRequest request, X509Certificate sender, TransactionId id) throws Exception {
        if (issued.containsValue(sender)) {
            return List.of(issue(request));
        }
        String secret = CertificationRequestUtils.getChallengePassword(request);
        if (challenge.equals(secret)) {
            return List.of(issue(request));
        }
        if (!("wait-" + challenge).equals(secret)) {
            throw new OperationFailureException(FailInfo.badRequest);
        }
        waiting.put(id, request);
        return List.of();
    }

    @Override
    protected List<X509Certificate> doGetCertInitial(X500Name issuer, X500Name subject, TransactionId id)
            throws Exception {
        if (!waiting.containsKey(id)) {
            throw new OperationFailureException(FailInfo.badCertId);
        }
        return polled.add(id) ? List.of() : List.of(issue(waiting.get(id)));
    }

    @Override
    protected PrivateKey getRecipientKey() {
        return key.getPrivate();
    }

    @Override
    protected X509Certificate getRecipient() {
        return ca;
    }

    @Override
    protected PrivateKey getSignerKey() {
        return key.getPrivate();
    }

    @Override
    protected X509Certificate getSigner() {
        return ca;
    }

    @Override
    protected X509Certificate[] getSignerCertificateChain() {
        return new X509Certificate[] {ca};
    }

    private X509Certificate issue(PKCS10CertificationRequest request) throws Exception {
        SubjectPublicKeyInfo subject = request.getSubjectPublicKeyInfo();
        X509v3CertificateBuilder builder = certificate(request.getSubject(), subject);
        Extensions asked = Extensions.getInstance(
            request.getAttributes(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest)[0].getAttrValues().getObjectAt(0));
        builder.addExtension(asked.getExtension(Extension.subjectAlternativeName));
        builder.addExtension(Extension.authorityKeyIdentifier, false, new JcaX509ExtensionUtils().createAuthorityKeyIdentifier(ca));
        X509Certificate made =
            new JcaX509CertificateConverter().getCertificate(builder.build(signer(key.getPrivate())));
        issued.put(made.getSerialNumber(), made);
        return made;
    }

    private static X509Certificate root(KeyPair key) throws Exception {
        PublicKey own = key.getPublic();
        X509v3CertificateBuilder builder = certificate(NAME, SubjectPublicKeyInfo.getInstance(own.getEncoded()));
        builder.addExtension(Extension.basicConstraints, true, new BasicConstraints(true));
        builder.addExtension(
            Extension.subjectKeyIdentifier, false, new JcaX509ExtensionUtils().createSubjectKeyIdentifier(own));
        int usage = KeyUsage.keyCertSign | KeyUsage.cRLSign | KeyUsage.digitalSignature | KeyUsage.keyEncipherment;
        builder.addExtension(Extension.keyUsage, true, new KeyUsage(usage));
        return new JcaX509CertificateConverter().getCertificate(builder.build(signer(key.getPrivate())));
    }

    private static X509v3CertificateBuilder certificate(X500Name subject, SubjectPublicKeyInfo key) {
        Instant now = Instant.now();
        BigInteger serial = new BigInteger(127, new SecureRandom());
        Date begin = Date.from(now.minus(1, ChronoUnit.HOURS));
        Date end = Date.from(now.plus(30, ChronoUnit.DAYS));
        return new X509v3CertificateBuilder(NAME, serial, begin, end, subject, key);
    }

    private static ContentSigner signer(PrivateKey key) throws Exception {
        return new JcaContentSignerBuilder("SHA256withRSA").build(key);
    }

    private static KeyPair newKey() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        return generator.generateKeyPair();
    }

    private static String pem(Object value) throws IOException {
        StringWriter text = new StringWriter();
        try (JcaPEMWriter writer = new JcaPEMWriter(text)) {
            writer.writeObject(value);
        }
        return text.toString();
    }
}
