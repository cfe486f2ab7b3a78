import test from 'ava'
import { commandReference } from '../../src/cli/command-reference.ts'
import { textOf } from '../support/sources.ts'

test('the reference page of the commands is current (npm run docs)', async (t) => {
  t.is(textOf('docs/reference/cli.md').trimEnd(), (await commandReference()).trimEnd())
})
