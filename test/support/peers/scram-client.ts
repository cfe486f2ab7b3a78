// The client's side of SCRAM-SHA-256 (RFC 5802), apart from the code under test.
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

export class ScramClient {
  readonly #password: string
  readonly #bare: string
  readonly first: Buffer
  /** What the server is to prove, once the proof is made. */
  serverFinal = ''

  constructor(user: string, password: string, nonce = 'fyko+d2lbbFgONRv9qkxdawL') {
    this.#password = password
    this.#bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
    this.first = Buffer.from(`n,,${this.#bare}`)
  }

  final(challenge: Buffer): Buffer {
    const text = challenge.toString()
    const [, nonce, salt, iterations] = /^r=(.+),s=(.+),i=(\d+)$/.exec(text)!
    const salted = pbkdf2Sync(
      this.#password,
      Buffer.from(salt!, 'base64'),
      Number(iterations),
      32,
      'sha256',
    )
    const clientKey = hmac(salted, 'Client Key')
    const unproved = `c=biws,r=${nonce}`
    const signed = `${this.#bare},${text},${unproved}`
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!))
    this.serverFinal = `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`
    return Buffer.from(`${unproved},p=${proof.toString('base64')}`)
  }
}
