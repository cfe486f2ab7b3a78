// The package as a project of its own gets it: packed, installed with its dependencies into an empty
// folder; what it holds, the command, the exports and their types.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { plainEnv, spawnServer } from '../test/support/server.ts'
import { ROOT } from '../test/support/sources/sources.ts'
import { tempDir } from '../test/support/temp-dir.ts'

const run = promisify(execFile)

/** What `npm pack` chooses from; a copy, as its script builds `dist` anew, which tests run from. */
const PACKED = [
  'package.json',
  'bin',
  'dist/src',
  'dist/dashboard',
  'docs',
  'deploy',
  'README.md',
  'CHANGELOG.md',
]
/** Optional peers: the package installs none of them. */
const AEDES = ['aedes@1.2.0', 'aedes-persistence@11.0.0', 'mqemitter@7.1.0']
const INSTALL = ['install', '--no-audit', '--no-fund', '--prefer-offline']

interface PackedFile {
  readonly path: string
}

async function pack(folder: string): Promise<{ archive: string; paths: readonly string[] }> {
  for (const path of [...PACKED, 'LICENSE']) {
    cpSync(join(ROOT, path), join(folder, path), { recursive: true })
  }
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json'], { cwd: folder })
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: PackedFile[] }]
  return { archive: join(folder, filename), paths: files.map(({ path }) => path) }
}

const PROGRAM = `
import { Aedes } from 'aedes'
import { connect } from 'trivetmq'
import { createEmitter, createPersistence } from 'trivetmq/aedes'
import { startTemporaryServer } from 'trivetmq/server'

const server = await startTemporaryServer()
const emitter = createEmitter({ server })
const authorizePublish = emitter.storeFirst()
const persistence = createPersistence({ server })
const aedes = await Aedes.createBroker({ mq: emitter, persistence, authorizePublish })
await new Promise<void>((resolve) => aedes.close(() => resolve()))
const mq = await connect({ nameServers: server.nameServers })
const sent = await mq.send({ topic: 'orders', body: 'hello', tag: 'paid' })
console.log(sent.topic)
await mq.close()
await server.close()
`

test('a project installs the package, runs its command, and compiles against its types', async (t) => {
  const { archive, paths } = await pack(await tempDir(t))
  for (const path of ['bin/trivet.cjs', 'dist/src/aedes/index.js', 'dist/src/server.d.ts']) {
    t.true(paths.includes(path), path)
  }
  t.deepEqual(
    paths.filter((path) => /\.map$|tsbuildinfo|(^|\/)(test|bench|node_modules)\//.test(path)),
    [],
  )

  const project = await tempDir(t)
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  await run('npm', [...INSTALL, archive, ...AEDES], { cwd: project })
  const trivet = join(project, 'node_modules', '.bin', 'trivet')
  const { stdout: version } = await run(trivet, ['--version'], { cwd: project })
  t.regex(version, /\d+\.\d+\.\d+/)

  mkdirSync(join(project, 'src'))
  writeFileSync(join(project, 'src', 'send.ts'), PROGRAM)
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const options = ['--module', 'nodenext', '--target', 'es2022', '--strict']
  const types = [
    '--lib',
    'es2023,esnext.disposable',
    '--typeRoots',
    join(ROOT, 'node_modules/@types'),
  ]
  await run(process.execPath, [compiler, ...options, ...types, '--types', 'node', 'src/send.ts'], {
    cwd: project,
  })

  const { stdout: topic } = await run(process.execPath, ['src/send.js'], { cwd: project })
  t.is(topic.trim(), 'orders')

  const server = await spawnServer(t, {
    trivet: join(project, 'node_modules/trivetmq/bin/trivet.cjs'),
  })
  const env = { ...plainEnv(), TRIVET_NAME_SERVERS: server.address('nameServer') }
  await run(trivet, ['pub', 'orders', 'hello'], { cwd: project, env })
  const { stdout: topics } = await run(trivet, ['topic', 'list', '--json'], { cwd: project, env })
  t.true(topics.includes('"orders"'), topics)
  const page = `http://${server.address('http')}`
  for (const path of ['/', '/assets/main.js', '/assets/vendor/uplot.js']) {
    t.is((await fetch(page + path)).status, 200, path)
  }
  t.is(await server.stop(), 0)
})
