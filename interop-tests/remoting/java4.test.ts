// The unmodified Java clients of RocketMQ 4.4.0, which dials the VIP port, and 4.9.8, the last of that generation, with
// their defaults, against our server in a process of its own.

import { spawnServer } from '../../test/support/server.ts'
import { allChecked } from '../support/go-client.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { java4Checks } from '../support/java4-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('every test with the Java clients of RocketMQ 4', missing)

const CHECKS = 10
const VERSIONS = [
  { version: '4.4.0', isVipDefault: true },
  { version: '4.9.8', isVipDefault: false },
]

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
