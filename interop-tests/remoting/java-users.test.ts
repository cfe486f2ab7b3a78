// Users and rights that mqadmin makes at run time, and an unmodified Java client that signs as one.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { javaClientMissing, mqadminWith } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('users by mqadmin', missing)

const ROOT = { admin: true, secretKey: 'secret-of-root' }

testJava('mqadmin makes a user and gives it rights, shows both and takes them away', async (t) => {
  const server = await spawnServer(t, { config: { users: { root: ROOT } } })
  const address = server.address('remoting')
  const home = await tempDir(t)
  await mkdir(join(home, 'conf'))
  const keys = 'accessKey: root\nsecretKey: secret-of-root\n'
  await writeFile(join(home, 'conf', 'tools.yml'), keys)
  const mqadmin = (...args: readonly string[]): Promise<string> =>
    mqadminWith([`-Drocketmq.home.dir=${home}`])(...args, '-b', address)

  t.regex(
    await mqadmin('createUser', '-u', 'kim', '-p', 'kims-password'),
    /create user to .* success/,
  )
  t.regex(await mqadmin('getUser', '-u', 'kim'), /kim +kims-password +Normal +enable/)
  const acl = ['-s', 'User:kim', '-r', 'Topic:ord*,Group:billing', '-a', 'Pub,Sub', '-d', 'Allow']
  t.regex(await mqadmin('createAcl', ...acl), /create acl to .* success/)
  const shown = await mqadmin('getAcl', '-s', 'User:kim')
  t.regex(shown, /User:kim +Custom +Topic:ord\* +\[Pub, Sub\] +(null|\[\]) +Allow/)
  t.regex(shown, /User:kim +Custom +Group:billing/)
  t.regex(await mqadmin('listUser'), /root +null +Super +enable/)
  t.regex(await mqadmin('createUser', '-u', 'kim', '-p', 'x'), /CODE: 16/)
  t.regex(await mqadmin('deleteUser', '-u', 'kim'), /delete user to .* success/)
  t.notRegex(await mqadmin('listUser'), /kim/)
})
