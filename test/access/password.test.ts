import test from 'ava'
import { hashPassword, isPassword, parsePasswordHash } from '../../src/access/secrets/password.ts'
import { BrokerError } from '../../src/errors.ts'

test('a hashed password is recognised, and no other', async (t) => {
  const kept = parsePasswordHash(await hashPassword('correct horse'))
  t.true(await isPassword('correct horse', kept))
  t.false(await isPassword('correct horsf', kept))
  t.false(await isPassword('', kept))
})

test('two hashes of one password differ', async (t) => {
  t.not(await hashPassword('same'), await hashPassword('same'))
})

// RFC 7914, section 12, third vector, shortened to its first 32 bytes.
test('a hash made elsewhere is read as scrypt', async (t) => {
  const salt = Buffer.from('SodiumChloride').toString('base64')
  const hash = Buffer.from(
    '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2',
    'hex',
  ).toString('base64')
  const kept = parsePasswordHash(`scrypt:16384:8:1:${salt}:${hash}`)
  t.true(await isPassword('pleaseletmein', kept))
})

for (const [what, text] of [
  ['another scheme', 'bcrypt:16384:8:1:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAA'],
  ['a cost that is no power of two', 'scrypt:1000:8:1:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAA'],
  ['a cost of gigabytes', 'scrypt:16777216:8:1:AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAA'],
  ['a short hash', 'scrypt:16384:8:1:AAAAAAAAAAAAAAAA:AAAA'],
  ['a missing part', 'scrypt:16384:8:1:AAAAAAAAAAAAAAAA'],
] as const) {
  test(`${what} is no password hash`, (t) => {
    const error = t.throws(() => parsePasswordHash(text), { instanceOf: BrokerError })
    t.is(error.code, 'CONFIG_INVALID')
    t.regex(error.message, /trivet hash-password/)
  })
}
