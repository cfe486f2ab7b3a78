import test from 'ava'
import { circlesOf } from './support/circles.ts'
import { importsOf, type Source, sources } from './support/sources.ts'

const src = sources('src')
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
