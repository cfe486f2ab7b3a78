// The server side of TLS for the sockets of any listener: from a client's hello to a socket that
// speaks the protocol inside. Knows certificates, no protocol.
import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
} from 'node:tls'
import { type Clock, SharedSlice } from '../clock.ts'
import { certificateUser } from './certificate-user.ts'
import type { UserFrom } from './options.ts'

/** Whether clients show a certificate of `ca`. */
export type ClientCertificates = 'none' | 'optional' | 'required'

export interface TlsOptions {
  readonly identity: SecureContextOptions
  readonly clientCertificates: ClientCertificates
  /** Absent: a certificate names no user. */
  readonly userFrom?: UserFrom | undefined
  readonly versionMin: 'TLSv1.2' | 'TLSv1.3'
  /** From the beginning to the end of the handshake. */
  readonly handshakeMs: number
  readonly clock: Clock
}

/** Of node's sockets, neither documented nor changed since there are any. */
interface TlsSocketInside {
  _handle?: { verifyError(): (Error & { code?: string }) | null }
  once(event: 'secure', done: () => void): void
  once(event: '_tlsError', failed: (error: NodeError) => void): void
}

type NodeError = Error & { readonly code?: string; readonly reason?: string }

/** The same for all listeners of a process. */
export class TlsAcceptor {
  readonly #options: TlsOptions
  readonly #clients: ClientCertificates
  #context: SecureContext
  /** An answer to a hello takes a millisecond of the event loop, or several with a large key. */
  readonly #answers: SharedSlice

  constructor(options: TlsOptions) {
    this.#options = options
    this.#answers = new SharedSlice(options.clock)
    this.#clients = options.clientCertificates
    this.#context = this.#contextOf(options.identity)
  }

  get handshakeMs(): number {
    return this.#options.handshakeMs
  }

  /** For handshakes from now on: they resume no session of before, whose CAs may be gone. */
  use(identity: SecureContextOptions): void {
    this.#context = this.#contextOf(identity)
  }

  #contextOf(identity: SecureContextOptions): SecureContext {
    return createSecureContext({
      ...identity,
      minVersion: this.#options.versionMin,
      // Renegotiation costs this side far more than the client.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      sessionIdContext: 'trivet',
    })
  }

  /** Settles in a turn that has time for one more handshake, in the order of the calls. */
  async turn(): Promise<void> {
    if (this.#answers.isOver) await this.#answers.rest()
  }

  /**
   * The socket is paused. `hello`: its first bytes, read already.
   * Rejects with an error whose message says why the connection has to go.
   */
  secure(socket: Socket, hello: Buffer): Promise<TLSSocket> {
    socket.unshift(hello)
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#context,
      requestCert: this.#clients !== 'none',
      // Then a client that shows no certificate is told so by an alert.
      rejectUnauthorized: this.#clients === 'required',
    })
    const inside = secured as unknown as TlsSocketInside
    return new Promise((resolve, reject) => {
      const refuse = (reason: string): void => reject(new Error(reason))
      secured.on('error', () => {})
      inside.once('_tlsError', (error) => refuse(reasonOf(error)))
      secured.once('close', () => refuse(ENDED))
      inside.once('secure', () => {
        const refused = this.#refusalOf(secured)
        if (refused === undefined) resolve(secured)
        else refuse(refused)
      })
    })
  }

  /** The user that the client's verified certificate names. */
  userOf(secured: TLSSocket): string | undefined {
    const { userFrom } = this.#options
    const certificate = userFrom && secured.getPeerX509Certificate()
    return certificate && certificateUser(certificate, userFrom)
  }

  #refusalOf(secured: TLSSocket): string | undefined {
    if (this.#clients === 'none') return undefined
    if (this.#clients === 'optional' && secured.getPeerX509Certificate() === undefined) {
      return undefined
    }
    const error = (secured as unknown as TlsSocketInside)._handle?.verifyError()
    if (!error) return undefined
    return `the client's certificate was refused (${error.code ?? error.message}); tls.ca names the CAs`
  }
}

function reasonOf({ code = '', reason, message }: NodeError): string {
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') {
    return 'the client showed no certificate, and tls.clientCertificates is required'
  }
  if (code.includes('_ALERT_') && /CERTIFICATE|UNKNOWN_CA/.test(code)) {
    return `the client did not accept tls.certificate (${reason})`
  }
  if (code === 'ECONNRESET') return ENDED
  return `its TLS handshake failed (${reason ?? message})`
}

const ENDED = 'the client ended it within the TLS handshake'
