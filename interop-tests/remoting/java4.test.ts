// The unmodified Java clients of RocketMQ 4.4.0, which dials the VIP port, and 4.9.8, the last of that generation, with
// their defaults, against our server in a process of its own.
import test from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { allChecked } from '../support/go-client.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { buildJava4, java4Checks, java4SignedChecks } from '../support/java4-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('every test with the Java clients of RocketMQ 4', missing, 'at once')

const CHECKS = 10
const SIGNED_CHECKS = 3
const VERSIONS = [
  { version: '4.4.0', isVipDefault: true },
  { version: '4.9.8', isVipDefault: false },
]

test.before(async () => {
  // One after the other: Maven processes share its repository.
  if (missing === undefined) for (const { version } of VERSIONS) await buildJava4(version)
})

for (const java4 of VERSIONS) {
  testJava(
    `a Java application of ${java4.version} produces and consumes by its defaults`,
    async (t) => {
      const server = await spawnServer(t)
      const client = await java4Checks(t, java4, server.address('nameServer'))
      await allChecked(t, client, CHECKS)
    },
  )
}

testJava('a Java application of 4.9.8 signs its requests by the hook of its ACL', async (t) => {
  const keys = { accessKey: 'java4', secretKey: '12345678' }
  const rights = { publish: ['*'], consume: ['*'], create: ['*'] }
  const users = { [keys.accessKey]: { secretKey: keys.secretKey, ...rights } }
  const server = await spawnServer(t, { config: { users } })
  const client = await java4SignedChecks(t, '4.9.8', server.address('nameServer'), keys)
  await allChecked(t, client, SIGNED_CHECKS)
})
