import test from 'ava'
import { type ConfigInput, configOf } from '../src/config.ts'
import { checkExposure } from '../src/exposure.ts'
import { PROTOCOLS } from '../src/listening.ts'

const USERS = { ada: { secretKey: 'secret-of-ada' } }

const check = (input: ConfigInput): void => checkExposure(configOf(input))

for (const name of PROTOCOLS) {
  for (const host of ['0.0.0.0', '::', '10.0.0.7', 'broker.example.org', '127.0.0.1.example.org']) {
    test(`${name} on ${host} is refused without users`, (t) => {
      const error = t.throws(() => check({ [name]: { host } }), { code: 'CONFIG_INVALID' })
      t.true(error.message.includes(`${name}.host = ${host}`))
      t.notThrows(() => check({ [name]: { host }, users: USERS }))
      t.notThrows(() => check({ [name]: { host }, insecureOpenToTheNetwork: true }))
      t.notThrows(() => check({ [name]: { host, enabled: false } }))
    })
  }

  for (const host of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', 'localhost']) {
    test(`${name} on ${host} needs no users`, (t) => {
      t.notThrows(() => check({ [name]: { host } }))
    })
  }
}

test('a further address beyond loopback is refused without users as well', (t) => {
  const listeners = [
    { protocol: 'mqtt', port: 1884 },
    { protocol: 'amqp', host: '0.0.0.0', port: 5673 },
  ] as const
  const error = t.throws(() => check({ listeners: [...listeners] }), { code: 'CONFIG_INVALID' })
  t.true(error.message.includes('listeners.1.host = 0.0.0.0'))
  t.false(error.message.includes('listeners.0'))
  t.notThrows(() => check({ listeners: [...listeners], amqp: { enabled: false } }))
})
