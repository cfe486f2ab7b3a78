// Why a TLS handshake of a client failed, in words that say what to do. Node's own are OpenSSL's.

const UNTRUSTED: ReadonlySet<string | undefined> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
])

/** OpenSSL's words for the alert, where the code is one of the socket. */
const REFUSED = 'alert handshake failure'

/** undefined: no failure of TLS, or one whose message says enough. */
export function tlsFailureText({ code, message }: Error & { code?: string }): string | undefined {
  if (UNTRUSTED.has(code)) {
    return 'its certificate is of no CA that is trusted here; name its CA (--tls-ca on the command line, tls.ca in code)'
  }
  // OpenSSL's version of a peer that answers in the clear.
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return 'it speaks no TLS'
  }
  // Brokers answer so where they have no TLS, and where a client offers none that fits.
  if (code === 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE' || message.includes(REFUSED)) {
    return 'it refused the TLS handshake; it may have no TLS'
  }
  const isCutOff = code === 'ECONNRESET' && message.includes('before secure TLS connection')
  return isCutOff ? 'it ended the TLS handshake; it may have no TLS' : undefined
}
