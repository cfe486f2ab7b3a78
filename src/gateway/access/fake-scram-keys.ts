// What users that do not exist seem to have, for SCRAM tells salt and iterations before anything is
// proved: of each name the same, also after a restart, and as known users have them.
import { createHmac } from 'node:crypto'
import {
  parseScramKeys,
  SCRAM_ITERATIONS,
  SCRAM_KEY_BYTES,
  SCRAM_SALT_BYTES,
  type ScramKeys,
} from '../../scram-keys.ts'

interface Secrets {
  readonly password?: string | undefined
  readonly scram?: string | undefined
  readonly secretKey?: string | undefined
}

export class FakeScramKeys {
  readonly #key: Buffer
  readonly #shapes: readonly Pick<ScramKeys, 'iterations'>[]

  /** @param users of the configuration: of their secrets the key is made */
  constructor(users: Readonly<Record<string, Secrets>>) {
    const hmac = createHmac('sha256', 'fake SCRAM keys')
    for (const [name, { password, scram, secretKey }] of Object.entries(users)) {
      hmac.update(JSON.stringify([name, password, scram, secretKey]))
    }
    this.#key = hmac.digest()
    const known = Object.values(users).flatMap(({ scram }) => scram ?? [])
    this.#shapes = known.length > 0 ? known.map(parseScramKeys) : [{ iterations: SCRAM_ITERATIONS }]
  }

  of(name: string): ScramKeys {
    const part = (what: string): Buffer =>
      createHmac('sha256', this.#key).update(`${what} ${name}`).digest()
    const { iterations } = this.#shapes[part('shape').readUInt32BE(0) % this.#shapes.length]!
    return {
      iterations,
      salt: part('salt').subarray(0, SCRAM_SALT_BYTES),
      storedKey: part('stored').subarray(0, SCRAM_KEY_BYTES),
      serverKey: part('server').subarray(0, SCRAM_KEY_BYTES),
    }
  }
}
