// What SCRAM-SHA-256 needs of a password (RFC 5802, RFC 7677), as text that can be kept (RFC 5803):
// it lets no client log in, and passwords can only be tried against it.
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { BrokerError } from '../../errors.ts'

export interface ScramKeys {
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** About 40 ms of one core, once for each password here and for each login of its client. */
export const SCRAM_ITERATIONS = 100_000
export const SCRAM_SALT_BYTES = 16
export const SCRAM_KEY_BYTES = 32
const ITERATIONS_MIN = 4_096
/** A client has to do them. */
const ITERATIONS_MAX = 10_000_000
const DIGEST = 'sha256'

export const SCRAM_PATTERN =
  /^SCRAM-SHA-256\$(\d{4,8}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/

export async function makeScramKeys(password: string): Promise<ScramKeys> {
  return deriveScramKeys(password, randomBytes(SCRAM_SALT_BYTES), SCRAM_ITERATIONS)
}

/** In the thread pool. */
export async function deriveScramKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(prepared(password), salt, iterations, SCRAM_KEY_BYTES, DIGEST, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
  const storedKey = createHash(DIGEST).update(hmac(salted, 'Client Key')).digest()
  return { iterations, salt, storedKey, serverKey: hmac(salted, 'Server Key') }
}

export const hmac = (key: Buffer, text: string): Buffer =>
  createHmac(DIGEST, key).update(text).digest()

export const scramText = ({ iterations, salt, storedKey, serverKey }: ScramKeys): string =>
  `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`

/** @throws BrokerError CONFIG_INVALID */
export function parseScramKeys(text: string): ScramKeys {
  const [, iterations, ...parts] = SCRAM_PATTERN.exec(text) ?? []
  const [salt, storedKey, serverKey] = parts.map((part) => Buffer.from(part, 'base64'))
  const keys = {
    iterations: Number(iterations),
    salt: salt!,
    storedKey: storedKey!,
    serverKey: serverKey!,
  }
  const isSound =
    serverKey !== undefined &&
    keys.iterations >= ITERATIONS_MIN &&
    keys.iterations <= ITERATIONS_MAX &&
    keys.salt.length >= 8 &&
    keys.storedKey.length === SCRAM_KEY_BYTES &&
    keys.serverKey.length === SCRAM_KEY_BYTES
  if (isSound) return keys
  throw new BrokerError(
    'CONFIG_INVALID',
    'keys for SCRAM are not SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey; make them with: trivet hash-password --scram',
  )
}

const base64 = (bytes: Buffer): string => bytes.toString('base64')

/** RFC 3454, C.1.2 without the ASCII space, and B.1. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu
const NOTHINGS =
  /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu

/** SASLprep (RFC 4013) as far as it changes text: both ends have to come to the same bytes. */
export const prepared = (text: string): string =>
  text.replace(SPACES, ' ').replace(NOTHINGS, '').normalize('NFKC')
