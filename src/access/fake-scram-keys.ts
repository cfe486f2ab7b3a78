// What users that do not exist seem to have, for SCRAM tells salt and iterations before anything is
// proved: of each name the same, also after a restart, and as known users have them.
import { createHmac } from 'node:crypto'
import {
  parseScramKeys,
  SCRAM_ITERATIONS,
  SCRAM_KEY_BYTES,
  SCRAM_SALT_BYTES,
  type ScramKeys,
} from './secrets/scram-keys.ts'

interface Secrets {
  readonly password?: string | undefined
  readonly scram?: string | undefined
  readonly secretKey?: string | undefined
}

/** What a client is told of keys, but for the salt itself. */
interface Shape {
  readonly iterations: number
  readonly saltBytes: number
}

/** Users that are made at run time have it, and any of the configuration may. */
const USUAL: Shape = { iterations: SCRAM_ITERATIONS, saltBytes: SCRAM_SALT_BYTES }
/** Of the longest salt. */
const FAKE_BYTES = 64

export class FakeScramKeys {
  readonly #key: Buffer
  readonly #shapes: readonly Shape[]

  /** @param users of the configuration: of their secrets the key is made */
  constructor(users: Readonly<Record<string, Secrets>>) {
    const hmac = createHmac('sha256', 'fake SCRAM keys')
    for (const [name, { password, scram, secretKey }] of Object.entries(users)) {
      hmac.update(JSON.stringify([name, password, scram, secretKey]))
    }
    this.#key = hmac.digest()
    const known = Object.values(users).flatMap(({ scram }) => scram ?? [])
    const shapes = known.map(parseScramKeys).map(({ iterations, salt }) => ({
      iterations,
      saltBytes: Math.min(salt.length, FAKE_BYTES),
    }))
    this.#shapes = [USUAL, ...shapes]
  }

  of(name: string): ScramKeys {
    const part = (what: string): Buffer =>
      createHmac('sha512', this.#key).update(`${what} ${name}`).digest()
    const { iterations, saltBytes } =
      this.#shapes[part('shape').readUInt32BE(0) % this.#shapes.length]!
    return {
      iterations,
      salt: part('salt').subarray(0, saltBytes),
      storedKey: part('stored').subarray(0, SCRAM_KEY_BYTES),
      serverKey: part('server').subarray(0, SCRAM_KEY_BYTES),
    }
  }
}
