import test from 'ava'
import { commandReference } from '../../src/cli/help/command-reference.ts'
import { messageLine } from '../../src/cli/message-text.ts'
import { troubles } from '../../src/cli/status.ts'
import type { BrokerState } from '../../src/client/index.ts'
import { FOLLOWS_MASTER } from '../../src/model/status.ts'
import { textOf } from '../support/sources/sources.ts'

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

const slave = (numbers: Record<string, number>, reason: string = FOLLOWS_MASTER): BrokerState => ({
  ...healthy,
  writable: false,
  numbers: {
    trivet_replication_connected: 1,
    trivet_replication_standing: 0,
    trivet_replication_behind_bytes: 0,
    trivet_replication_behind_seconds: 0,
    ...numbers,
  },
  values: { readOnlyReason: reason },
})

test('a slave that follows has no troubles, a little behind or not', (t) => {
  t.deepEqual(troubles(slave({})), [])
  const behind = {
    trivet_replication_behind_bytes: 5_000_000,
    trivet_replication_behind_seconds: 0.3,
  }
  t.deepEqual(troubles(slave(behind)), [])
  t.deepEqual(troubles({ ...healthy, numbers: behind }), [])
})

test('a copy that is long behind, stands, is alone or has no room is told of', (t) => {
  const behind = {
    trivet_replication_behind_bytes: 5_000_000,
    trivet_replication_behind_seconds: 20,
  }
  const told = ['a copy is 4.8 MiB and 20s behind']
  t.deepEqual(troubles(slave(behind)), told)
  t.deepEqual(troubles({ ...healthy, numbers: behind }), told)
  t.regex(troubles(slave({ trivet_replication_standing: 1 })).join(), /without an operator/)
  t.regex(troubles(slave({ trivet_replication_connected: 0 })).join(), /at present/)
  t.deepEqual(troubles(slave({}, 'the disk is full')), ['copies nothing: the disk is full'])
})

test('an election without etcd, or without a master, is told in sentences', (t) => {
  const numbers = { trivet_election_is_reached: 0, trivet_election_is_vacant: 1 }
  t.deepEqual(troubles({ ...healthy, numbers }), [
    'etcd does not answer this copy, or refuses it, as its log says: it takes part in no election',
    'no copy is the master at present',
  ])
  const well = { trivet_election_is_reached: 1, trivet_election_is_vacant: 0 }
  t.deepEqual(troubles({ ...healthy, numbers: well }), [])
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
