// The walls between folders, held by planting every import there could be: the linter must refuse
// exactly those that the table in architecture.md does not grant.
import { spawn } from 'node:child_process'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import test from 'ava'
import { ROOT, textOf } from './support/sources.ts'
import { tempDir } from './support/temp-dir.ts'

/** A file where an import is planted, and the table's row that speaks of it. */
const PLACES: readonly (readonly [path: string, row: string])[] = [
  ['src/main.ts', 'main'],
  ['src/server.ts', 'server'],
  ['src/listeners.ts', 'listeners'],
  ['src/exposure.ts', 'exposure'],
  ['src/config.ts', 'config'],
  ['src/settings.ts', 'settings'],
  ['src/parts.ts', 'parts'],
  ['src/log.ts', 'log'],
  ['src/errors.ts', 'others'],
  ['src/clock.ts', 'others'],
  ['src/password.ts', 'others'],
  ['src/did-you-mean.ts', 'others'],
  ['src/model/planted.ts', 'model'],
  ['src/store/planted.ts', 'store'],
  ['src/broker/planted.ts', 'broker'],
  ['src/namesrv/planted.ts', 'namesrv'],
  ['src/remoting/planted.ts', 'remoting'],
  ['src/remoting/connection.ts', 'remoting'],
  ['src/remoting/requests/planted.ts', 'remoting'],
  ['src/client/planted.ts', 'client'],
  ['src/admin/planted.ts', 'admin'],
  ['src/cli/planted.ts', 'cli'],
  ['src/cli/amqp-leg.ts', 'cli'],
  ['src/cli/amqp-sender.ts', 'cli'],
  ['src/cli/mqtt-leg.ts', 'cli'],
  ['src/gateway/planted.ts', 'gateway'],
  ['src/gateway/listener.ts', 'gateway'],
  ['src/gateway/remoting/planted.ts', 'gateway/remoting'],
  ['src/gateway/remoting/requests/planted.ts', 'gateway/remoting'],
  ['src/gateway/mqtt/planted.ts', 'gateway/mqtt'],
  ['src/gateway/amqp/planted.ts', 'gateway/amqp'],
]

/** A file to import, and the names by which a row grants it. */
const OURS: readonly (readonly [path: string, names: readonly string[]])[] = [
  ...['main', 'server', 'listeners', 'exposure', 'config', 'settings', 'parts'].map(file),
  ...['log', 'errors', 'clock', 'password', 'did-you-mean'].map(file),
  ['src/model/message.ts', ['model']],
  ['src/store/store.ts', ['store', 'store/store']],
  ['src/store/log-store.ts', ['store']],
  ['src/broker/options.ts', ['broker', 'broker/options']],
  ['src/broker/broker.ts', ['broker']],
  ['src/namesrv/server.ts', ['namesrv']],
  ['src/remoting/command.ts', ['remoting']],
  ['src/remoting/requests/send.ts', ['remoting']],
  ['src/client/index.ts', ['client']],
  ['src/admin/server.ts', ['admin']],
  ['src/cli/run.ts', ['cli']],
  ['src/gateway/gateway.ts', ['gateway', 'gateway/gateway']],
  ['src/gateway/listener.ts', ['gateway', 'gateway/listener']],
  ['src/gateway/auth.ts', ['gateway']],
  ['src/gateway/remoting/message.ts', ['gateway/remoting']],
  ['src/gateway/remoting/requests/pull.ts', ['gateway/remoting']],
  ['src/gateway/mqtt/message.ts', ['gateway/mqtt']],
  ['src/gateway/mqtt/options.ts', ['gateway/mqtt', 'gateway/*/options']],
  ['src/gateway/amqp/message.ts', ['gateway/amqp']],
  ['src/gateway/amqp/options.ts', ['gateway/amqp', 'gateway/*/options']],
]

/** A package, or a module of Node that only some may have, and who has it: rows, or single files. */
const PACKAGES: readonly (readonly [name: string, owners: readonly string[]])[] = [
  ['level', ['store']],
  ['pino', ['log']],
  ['zod', ['config', 'settings', 'gateway/mqtt']],
  ['rhea', ['gateway/amqp', 'src/cli/amqp-leg.ts', 'src/cli/amqp-sender.ts']],
  ['mqtt', ['src/cli/mqtt-leg.ts']],
  ['ws', ['src/gateway/listener.ts']],
  ['node:net', ['src/gateway/listener.ts', 'src/remoting/connection.ts']],
  ['node:tls', ['src/gateway/listener.ts', 'src/remoting/connection.ts']],
  ['node:fs', ['store', 'config']],
  ['node:fs/promises', ['store']],
  ...['mqtt-packet', 'aedes', 'mqemitter', 'ali-ons', 'fastify'].map((name) => [name, []] as const),
]

function file(name: string): readonly [string, readonly string[]] {
  return [`src/${name}.ts`, [name]]
}

/** What each row of the table grants. */
function table(): ReadonlyMap<string, (names: readonly string[]) => boolean> {
  const page = textOf('docs/internals/architecture.md').split('## Who may import whom')[1]!
  const rows = [...page.matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)]
  return new Map(
    rows.map(([, row, cell]) => {
      const allBut = cell!.startsWith('all but ')
      const words = cell!.replace('all but ', '').split(', ')
      return [row!, (names) => names.some((name) => words.includes(name)) !== allBut]
    }),
  )
}

interface Planted {
  readonly from: string
  readonly to: string
  readonly isAllowed: boolean
}

function plantings(): readonly Planted[] {
  const grants = table()
  return PLACES.flatMap(([from, row]) => {
    const grant = grants.get(row)
    if (grant === undefined) throw new Error(`the table has no row for ${row}`)
    const ours = OURS.filter(([to]) => to !== from).map(([to, names]) => {
      const path = relative(dirname(from), to)
      const isOwn = from.split('/').length > 2 && names.includes(row)
      return {
        from,
        to: path.startsWith('.') ? path : `./${path}`,
        isAllowed: isOwn || grant(names),
      }
    })
    const packages = PACKAGES.map(([to, owners]) => {
      return { from, to, isAllowed: owners.includes(row) || owners.includes(from) }
    })
    return [...ours, ...packages]
  })
}

async function refusedByLint(directory: string): Promise<ReadonlySet<string>> {
  const args = ['lint', '--vcs-enabled=false', '--max-diagnostics=none', '--reporter=json']
  const biome = spawn(
    join(ROOT, 'node_modules/.bin/biome'),
    [...args, '--only=style/noRestrictedImports', '.'],
    { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const { diagnostics } = JSON.parse(await text(biome.stdout)) as {
    diagnostics: readonly { location: { path: string; start: { line: number } } }[]
  }
  const refused = new Set<string>()
  for (const { location } of diagnostics) {
    const lines = (await readFile(join(directory, location.path), 'utf8')).split('\n')
    const to = /'([^']+)'/.exec(lines[location.start.line - 1]!)![1]!
    refused.add(`${location.path} -> ${to}`)
  }
  return refused
}

test('the linter refuses every import that the table does not grant', async (t) => {
  const directory = await tempDir(t)
  await copyFile(join(ROOT, 'biome.json'), join(directory, 'biome.json'))
  const planted = plantings()
  for (const [from] of PLACES) {
    const path = join(directory, from)
    await mkdir(dirname(path), { recursive: true })
    const specifiers = planted.filter((one) => one.from === from).map(({ to }) => to)
    await writeFile(path, specifiers.map((to) => `export * from '${to}'\n`).join(''))
  }
  const refused = await refusedByLint(directory)
  const name = ({ from, to }: Planted): string => `${from} -> ${to}`
  const passing = planted.filter((one) => !one.isAllowed && !refused.has(name(one))).map(name)
  const refusedThough = planted.filter((one) => one.isAllowed && refused.has(name(one))).map(name)
  t.deepEqual(passing, [], 'forbidden by the table, and the linter lets it pass')
  t.deepEqual(refusedThough, [], 'granted by the table, and the linter refuses it')
})
