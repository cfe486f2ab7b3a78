// The certificates of a running server: read at its start, again when a file changed or when asked,
// and replaced only by files that are right together. Says how long they are valid yet.
import { statSync } from 'node:fs'
import type { ConnectionOptions, SecureContextOptions } from 'node:tls'
import { type Certificates, readCertificates, type Validity } from './certificates.ts'
import type { Clock, Timer } from './clock.ts'
import type { Config } from './config.ts'
import { BrokerError } from './errors.ts'
import type { Logger } from './log.ts'

/** How often the files are looked at: a new certificate is in use soon after it was written. */
const LOOK_MS = 10_000
/** An operator has time to renew. */
const EXPIRES_SOON_MS = 14 * 24 * 3_600_000
const REMIND_MS = 24 * 3_600_000

export class LiveCertificates {
  readonly #tls: Config['tls']
  readonly #log: Logger
  readonly #clock: Clock
  readonly #timers: Timer[]
  /**
   * How the broker dials others: with its own certificate, and its CAs beside the known. The same
   * object always, renewed in place for connections that are dialled later.
   */
  readonly dialling: ConnectionOptions = {}
  #current: Certificates
  /** What the files looked like when they were last read, right or wrong. */
  #seen: string
  #changed: ((identity: SecureContextOptions) => void) | undefined

  /** @throws BrokerError CONFIG_INVALID when the files cannot be used as they are at the start */
  constructor(tls: Config['tls'], log: Logger, clock: Clock) {
    this.#tls = tls
    this.#log = log
    this.#clock = clock
    this.#seen = this.#appearance()
    this.#current = readCertificates(tls)
    Object.assign(this.dialling, this.#current.dialling)
    this.#remind()
    this.#timers = [
      clock.every(LOOK_MS, () => {
        if (this.#appearance() !== this.#seen) this.reload()
      }),
      clock.every(REMIND_MS, () => this.#remind()),
    ]
  }

  /** Of this server; undefined without a certificate. */
  get identity(): SecureContextOptions | undefined {
    return this.#current.identity
  }

  get expiries(): readonly Validity[] {
    return this.#current.expiries
  }

  /** Called with each identity that takes the place of the one before. */
  onChange(changed: (identity: SecureContextOptions) => void): void {
    this.#changed = changed
  }

  /** Open connections keep what they began with. Files that are wrong change nothing. */
  reload(): void {
    const fields = { evt: 'tls.reload', certificate: this.#tls.certificate }
    this.#seen = this.#appearance()
    try {
      this.#current = readCertificates(this.#tls)
    } catch (error) {
      const { message } = BrokerError.from(error)
      this.#log.error(
        { ...fields, error: message },
        'the certificates cannot be read again; the ones before stay in use',
      )
      return
    }
    const { identity, dialling } = this.#current
    Object.assign(this.dialling, dialling)
    if (identity !== undefined) this.#changed?.(identity)
    this.#log.info(fields, 'the certificates were read again; new connections get them')
    this.#remind()
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel()
  }

  #appearance(): string {
    const { certificate, key, ca } = this.#tls
    const looks = [certificate, key, ca].map((file) => {
      return file === undefined ? undefined : appearanceOf(file)
    })
    return looks.join(', ')
  }

  /** Peers that check refuse it; others go on, so the server does. */
  #remind(): void {
    const now = this.#clock.now()
    for (const { setting, file, validFromMs, validToMs } of this.expiries) {
      const [validFrom, validTo] = [validFromMs, validToMs].map((ms) => new Date(ms).toISOString())
      const fields = { evt: 'tls.expiry', setting, file, validFrom, validTo }
      if (validToMs < now) {
        this.#log.error(fields, `${setting} has expired: peers that check it refuse it`)
      } else if (validToMs - now < EXPIRES_SOON_MS) {
        this.#log.warn(fields, `${setting} expires soon`)
      }
      if (validFromMs > now) this.#log.error(fields, `${setting} is not valid yet`)
    }
  }
}

/** One that cannot be looked at has an appearance too: that it changed is told by reading it. */
function appearanceOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file)
    // Behind a link that is moved the file is another one.
    return `${mtimeMs} ${size} ${ino}`
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}
