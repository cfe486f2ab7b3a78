// Tests that need something from outside the project: an unmodified client, tools, privileges.
// Without it they are skipped, and the run says so.
import test from 'ava'
import { type SpawnedServer, type SpawnOptions, spawnServer } from '../../test/support/server.ts'

/** How the tests of `what` are declared: one after the other, or those that mostly wait at once. */
export function needing(
  what: string,
  missing: string | undefined,
  order: 'in turn' | 'at once' = 'in turn',
) {
  if (missing === undefined) return order === 'in turn' ? test.serial : test
  process.stderr.write(`SKIPPED: ${what}, because ${missing}\n`)
  test.skip(`${what}: ${missing}`, (t) => t.pass())
  return test.skip
}

/** One server in a process of its own for all tests of the file, unless they are skipped. */
export function serverForAll(
  missing: string | undefined,
  options?: SpawnOptions,
): () => SpawnedServer {
  let server: SpawnedServer | undefined
  const leftovers: (() => unknown)[] = []
  test.before(async () => {
    const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
    if (missing === undefined) server = await spawnServer(later, options)
  })
  test.after.always(async () => {
    await server?.stop()
    for (const end of leftovers) await end()
  })
  return (): SpawnedServer => server!
}
