import test from 'ava'
import { codeOf, sources, textOf } from '../support/sources.ts'

const PAGE = 'docs/internals/life-of-a-message.md'
const src = new Map(sources('src').map(({ path, text }) => [path, codeOf(text)]))
const steps = [...textOf(PAGE).matchAll(/^\| `([^`]+)` \| `([^`]+)` \|/gm)]

test('the life of a message has all its stations', (t) => {
  t.true(steps.length > 25, `${steps.length} steps`)
})

for (const [, file, name] of steps) {
  test(`${file} has ${name}`, (t) => {
    const text = src.get(`src/${file}`)
    t.truthy(text, `${file} is not there`)
    const declared = new RegExp(`^(export |  )?(async )?(function |const )?${name}[(:]`, 'm')
    t.regex(text!, declared)
  })
}
