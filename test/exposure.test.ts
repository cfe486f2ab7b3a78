import test from 'ava'
import { type ConfigInput, configOf } from '../src/config.ts'
import { checkExposure } from '../src/exposure.ts'

const USERS = { ada: { secretKey: 'secret-of-ada' } }
const LISTENERS = ['nameServer', 'remoting', 'mqtt', 'amqp'] as const

const check = (input: ConfigInput): void => checkExposure(configOf(input))

for (const name of LISTENERS) {
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
