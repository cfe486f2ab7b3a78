// The walls between folders: every import of the source is one that the tables in architecture.md
// grant.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { circlesOf } from './support/sources/circles.ts'
import { importsOf, packagesOf, ROOT, type Source, sources } from './support/sources/sources.ts'
import { wallsOf } from './support/sources/walls.ts'

const src = sources('src')
const walls = wallsOf()

test('no file imports what the tables do not grant it', (t) => {
  const refused = src.flatMap((source) =>
    [...importsOf(source), ...packagesOf(source)]
      .filter((imported) => !walls.mayImport(source.path, imported))
      .map((imported) => `${source.path} -> ${imported}`),
  )
  t.deepEqual(refused, [])
})

for (const [path, imported] of [
  ['src/model/names.ts', 'src/store/store.ts'],
  ['src/store/open.ts', 'src/broker/broker.ts'],
  ['src/broker/broker.ts', 'src/port/gateway.ts'],
  ['src/gateway/mqtt/client.ts', 'src/gateway/amqp/options.ts'],
  ['src/port/gateway.ts', 'src/gateway/mqtt/options.ts'],
  ['src/config.ts', 'src/gateway/mqtt/server.ts'],
  ['src/errors.ts', 'src/clock.ts'],
  ['src/server.ts', 'src/client/index.ts'],
  ['src/client/index.ts', 'src/broker/options.ts'],
  ['src/gateway/amqp/server.ts', 'node:net'],
  ['src/broker/broker.ts', 'node:fs'],
  ['src/broker/broker.ts', 'level'],
  ['src/gateway/mqtt/server.ts', 'mqtt'],
  ['src/gateway/mqtt/server.ts', 'a-package-that-no-row-names'],
] as const) {
  test(`${path} may not import ${imported}`, (t) => {
    t.false(walls.mayImport(path, imported))
  })
}

test('the table names files and folders that are there, and every folder has a row', (t) => {
  const absent = walls.rows.filter(
    (row) =>
      row !== 'others' &&
      !existsSync(join(ROOT, 'src', row)) &&
      !existsSync(join(ROOT, 'src', `${row}.ts`)),
  )
  t.deepEqual(absent, [])
  const folders = new Set(src.map(({ path }) => dirname(path)).filter((path) => path !== 'src'))
  const without = [...folders].filter(
    (folder) => !walls.rows.some((row) => `${folder}/`.startsWith(`src/${row}/`)),
  )
  t.deepEqual(without, [])
})

const graphOf = (files: readonly Source[]) =>
  new Map(files.map((one) => [one.path, importsOf(one)]))

test('no file of the source imports itself through others, types included', (t) => {
  t.deepEqual(circlesOf(graphOf(src)), [])
})

test('a circle is found, also one of types', (t) => {
  const text = `import type { QueueReader } from '${'./client/consume/queue-reader.ts'}'\n`
  const planted = src.map((one) => (one.path === 'src/clock.ts' ? { ...one, text } : one))
  const circles = circlesOf(graphOf(planted))
  t.is(circles.length, 1)
  t.true(circles[0]!.includes('src/clock.ts'))
  t.true(circles[0]!.includes('src/client/consume/queue-reader.ts'))
})
