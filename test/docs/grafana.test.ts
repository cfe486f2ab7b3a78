// The board for Grafana: what it asks for is there by these names and labels.
import test from 'ava'
import { textOf } from '../support/sources/sources.ts'

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>
  readonly targets?: readonly { readonly expr: string; readonly refId: string }[]
}

const board = JSON.parse(textOf('deploy/grafana/trivetmq.json')) as {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string }[] }
}

/** Kind and labels of each number, as the reference has them. */
const numbers = new Map(
  Array.from(
    textOf('docs/reference/numbers.md').matchAll(/^\| `(\w+)` \| (\w+) \| [^|]+ \| ([^|]*) \|/gm),
    ([, name, kind, labels]) => [
      name!,
      { kind: kind!, labels: Array.from(labels!.matchAll(/`(\w+)`/g), ([, label]) => label!) },
    ],
  ),
)
/** Of every number. */
const NODE = ['cluster', 'node_type', 'node_id']

const queries = board.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ title, expr })),
)

test('every query asks for numbers that there are, by labels that they have', (t) => {
  t.true(queries.length > 20)
  t.true(numbers.size > 30)
  for (const { title, expr } of queries) {
    const asked = [...expr.matchAll(/\b((?:rocketmq|trivet|process)_\w+)\{([^}]*)\}/g)]
    t.true(asked.length > 0, title)
    const grouped = /by \(([^)]*)\)/.exec(expr)?.[1]?.split(', ') ?? []
    for (const [, name, selector] of asked) {
      const isBucket = name!.endsWith('_bucket')
      const number = numbers.get(name!.replace(/_bucket$/, ''))
      t.truthy(number, `${title}: ${name}`)
      t.is(number!.kind === 'histogram', isBucket, `${title}: ${name}`)
      const known = [...number!.labels, ...NODE, ...(isBucket ? ['le'] : [])]
      const chosen = Array.from(selector!.matchAll(/(\w+)=/g), ([, label]) => label!)
      for (const label of [...chosen, ...grouped]) {
        t.true(known.includes(label), `${title}: ${label}`)
      }
      t.is(/rate\([^)]*$/.test(expr.slice(0, expr.indexOf(name!))), number!.kind !== 'gauge', title)
    }
  }
})

test('panels have ids of their own and do not lie on each other, and variables are declared', (t) => {
  const { panels } = board
  t.is(new Set(panels.map(({ id }) => id)).size, panels.length)
  const taken = new Set<string>()
  for (const { title, gridPos } of panels) {
    t.true(gridPos.x + gridPos.w <= 24, title)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        t.false(taken.has(`${x}/${y}`), title)
        taken.add(`${x}/${y}`)
      }
    }
  }
  const declared = new Set(board.templating.list.map(({ name }) => name))
  const used = JSON.stringify(board).matchAll(/\$\{?(\w+)/g)
  for (const [, name] of used) t.true(declared.has(name!) || name!.startsWith('__'), name)
})
