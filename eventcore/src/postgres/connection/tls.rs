//! TLS, with the semantics of `sslmode` in PostgreSQL's own clients.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The encryption of a connection and the verification of the server. The names are those of `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsMode {
    /// `disable`: does not encrypt.
    Disable,
    /// `prefer`: encrypts if the server supports it; does not verify the server's identity. The
    /// default, as in other PostgreSQL clients.
    #[default]
    Prefer,
    /// `require`: encrypts or fails; does not verify the server's identity.
    Require,
    /// `verify-ca`: encrypts, and verifies that a trusted authority signed the server's
    /// certificate.
    VerifyCa,
    /// `verify-full`: encrypts, and verifies that a trusted authority signed the server's
    /// certificate and that it matches the host name. Use this on shared networks.
    VerifyFull,
}

impl TlsMode {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "prefer" | "allow" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    pub(crate) fn ssl_mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// The error of a TLS configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the certificates of {path} cannot be read")]
    Roots {
        path: String,
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} contains no certificate in PEM format")]
    NoRoots { path: String },
    #[error(
        "the trusted certificates of this system cannot be read: {reason}; set `sslrootcert` to a file"
    )]
    NoSystemRoots { reason: String },
    #[error("the trusted certificates cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Returns the connector for a mode. It trusts the authorities in the file `roots`, or those of the
/// system.
pub(crate) fn connector(
    mode: TlsMode,
    roots: Option<&Path>,
) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verify = match mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Verify::Nothing,
        TlsMode::VerifyCa | TlsMode::VerifyFull => {
            let roots = match roots {
                Some(path) => roots_of(path)?,
                None => system_roots()?,
            };
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()?;
            match mode {
                TlsMode::VerifyCa => Verify::Signature(inner),
                _ => Verify::SignatureAndName(inner),
            }
        }
    };
    let verifier = Verifier {
        verify,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::Roots {
        path: path.display().to_string(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(certificate.map_err(failed)?)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots {
            path: path.display().to_string(),
        });
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemRoots { reason });
    }
    Ok(roots)
}

/// The extent to which the server's identity is verified.
enum Verify {
    Nothing,
    Signature(Arc<WebPkiServerVerifier>),
    SignatureAndName(Arc<WebPkiServerVerifier>),
}

struct Verifier {
    verify: Verify,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |inner: &WebPkiServerVerifier| {
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &self.verify {
            Verify::Nothing => Ok(ServerCertVerified::assertion()),
            // The name is checked last.
            Verify::Signature(inner) => match check(inner) {
                Err(rustls::Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                other => other,
            },
            Verify::SignatureAndName(inner) => check(inner),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
