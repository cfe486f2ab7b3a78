import test from 'ava'
import { commandReference } from '../../src/cli/help/command-reference.ts'
import { messageLine } from '../../src/cli/message-text.ts'
import { troubles } from '../../src/cli/status.ts'
import type { BrokerState } from '../../src/client/index.ts'
import { textOf } from '../support/sources.ts'

const healthy: BrokerState = {
  version: 'V5_3_3',
  writable: true,
  uptimeMs: 1000,
  messagesIn: 1,
  messagesOut: 1,
  logStart: 0,
  logEnd: 100,
  numbers: {
    trivet_store_damaged_ranges: 0,
    trivet_store_damaged_records_total: 0,
    trivet_views_rebuilding: 0,
  },
  values: { readOnlyReason: '' },
}

test('a healthy broker has no troubles, nor has one of Apache RocketMQ', (t) => {
  t.deepEqual(troubles(healthy), [])
  t.deepEqual(troubles({ ...healthy, numbers: {}, values: {} }), [])
})

test('damage, a rebuild of the views and a full disk are told in sentences', (t) => {
  const numbers = {
    trivet_store_damaged_ranges: 2,
    trivet_store_damaged_bytes: 2048,
    trivet_store_damaged_records_total: 3,
    trivet_views_rebuilding: 1,
  }
  t.deepEqual(troubles({ ...healthy, numbers, values: { readOnlyReason: 'the disk is full' } }), [
    'takes no messages: the disk is full',
    '2 ranges of the log, 2.0 KiB, are damaged and not served',
    '3 damaged messages were skipped since the start',
    'the views are being built again from the log: some reads have to wait',
  ])
})

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

test('the reference page of the commands is current (npm run docs)', async (t) => {
  t.is(textOf('docs/reference/cli.md').trimEnd(), (await commandReference()).trimEnd())
})
