import test from 'ava'
import { messageLine } from '../../src/cli/message-text.ts'

const MESSAGE = {
  topic: 'orders',
  tag: undefined,
  keys: [],
  orderingKey: undefined,
  properties: {},
}

test('a message is one line, in which a terminal finds nothing to obey', (t) => {
  const body = Buffer.from('red: \u001b[31m\nand \u0007 \u009b2J, but grüße 👋')
  const properties = { 'a\tb': 'c\rd' }
  t.is(
    messageLine({ ...MESSAGE, properties, body }),
    'orders a\\tb=c\\rd  red: \\u001b[31m\\nand \\u0007 \\u009b2J, but grüße 👋',
  )
})
