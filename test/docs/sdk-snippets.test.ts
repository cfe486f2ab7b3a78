// The examples of the SDK's reference page, and of the pages about servers in the caller's process
// and about aedes, compile as they stand and run.
import { execFile } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { startServer } from '../support/server.ts'
import { ROOT, textOf } from '../support/sources/sources.ts'

const run = promisify(execFile)
const PAGES = ['docs/reference/sdk.md', 'docs/start/in-process.md', 'docs/start/aedes.md']
/** Inside the package, so that they import it by its name. */
const FOLDER = join(ROOT, 'dist', 'snippets')

const snippets = PAGES.flatMap((page) =>
  [...textOf(page).matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!),
)

test.before(async () => {
  await rm(FOLDER, { recursive: true, force: true })
  await mkdir(FOLDER, { recursive: true })
  for (const [i, code] of snippets.entries()) {
    // The address comes from the environment, so that the test may choose it.
    const address = "process.env['NAME_SERVERS'] ?? ''"
    const placed = code.replaceAll("'localhost:9876'", address)
    await writeFile(join(FOLDER, `${i}.ts`), placed)
  }
  await writeFile(
    join(FOLDER, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        module: 'nodenext',
        types: ['node'],
        typeRoots: [join(ROOT, 'node_modules', '@types')],
        strict: true,
        rootDir: '.',
        outDir: 'out',
      },
      include: ['*.ts'],
    }),
  )
  await run(process.execPath, [
    join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    FOLDER,
  ])
})

test('the examples are typed the same for a bundler', async (t) => {
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const how = ['--noEmit', '--module', 'esnext', '--moduleResolution', 'bundler']
  await t.notThrowsAsync(run(process.execPath, [tsc, '-p', FOLDER, ...how]))
})

test('there are examples', (t) => {
  t.true(snippets.length >= 7)
})

/** It stays on the default ports until a signal comes. */
const stays = (code: string): boolean => code.includes("process.once('SIGTERM'")

for (const [i, code] of snippets.entries()) {
  if (stays(code)) continue
  const title = code.split('\n').find((line) => line.includes('mq.')) ?? code
  test(`example ${i + 1} runs: ${title.trim()}`, async (t) => {
    const server = await startServer(t)
    const { stderr } = await run(process.execPath, [join(FOLDER, 'out', `${i}.js`)], {
      env: { ...process.env, NAME_SERVERS: server.address('nameServer') },
      timeout: 60_000,
    })
    t.is(stderr, '')
  })
}
