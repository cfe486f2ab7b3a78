// A master's store with its replication listener, and slaves of it: real files, real sockets, on
// free ports of loopback.

import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { logPosition } from '../../../src/model/positions.ts'
import { Listener } from '../../../src/net/listener.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import { openCopy } from '../../../src/replication/opening.ts'
import { Replicas, type ReplicasOptions } from '../../../src/replication/replicas.ts'
import { type Electorate, ReplicationServer } from '../../../src/replication/server.ts'
import { Slave, type SlaveContext, type SlaveIdentity } from '../../../src/replication/slave.ts'
import { emptyDataDirectory } from '../../../src/store/disk/data-directory.ts'
import type { Followed } from '../../../src/store/log/following.ts'
import { logIdIn, openStore, type StoreOptions } from '../../../src/store/open.ts'
import type { Replication } from '../../../src/store/replication.ts'
import type { MessageStore } from '../../../src/store/store.ts'
import { GENEROUS_LIMITS } from '../front-end.ts'
import { LogLines } from '../log-lines.ts'
import { type Teardown, tempDir } from '../temp-dir.ts'
import { eventually } from '../waiting.ts'

const IDENTITY = { clusterName: 'DefaultCluster', brokerName: 'broker-a' }

const SYNC: ReplicasOptions = {
  isSync: true,
  inSyncReplicas: 2,
  inSyncReplicasMin: 1,
  slaveTimeoutMs: 60_000,
  slaveBehindMsMax: 15_000,
}

function openOf(
  directory: string,
  log: LogLines,
  follows?: Followed,
  more?: Partial<StoreOptions>,
) {
  return openStore({
    directory,
    storeHost: { ip: 0x7f000001, port: 10_911 },
    clock: systemClock,
    log,
    retentionMs: 72 * 3_600_000,
    diskFreeBytesMin: 0,
    ...(follows !== undefined && { follows }),
    ...more,
  })
}

export interface MasterOptions {
  readonly directory?: string
  /** Default: a free one. */
  readonly port?: number
  readonly replicas?: Partial<ReplicasOptions>
  readonly users?: Readonly<Record<string, User>>
  readonly store?: Partial<StoreOptions>
  readonly electorate?: Electorate
  /** Of what serves slaves. */
  readonly clock?: Clock
}

export interface TestMaster {
  readonly store: MessageStore
  readonly replicas: Replicas
  readonly log: LogLines
  readonly directory: string
  readonly numbers: Numbers
  readonly address: string
  /** The listener and its slaves go; the store stays. */
  deafen(): Promise<void>
  close(): Promise<void>
}

export async function startMaster(t: Teardown, options: MasterOptions = {}): Promise<TestMaster> {
  const directory = options.directory ?? (await tempDir(t))
  const log = new LogLines()
  const numbers = new Numbers()
  const store = await openOf(directory, log, undefined, options.store)
  const { replication } = store
  const context = { replication, clock: systemClock, log, numbers }
  const replicas = new Replicas(context, { ...SYNC, ...options.replicas })
  const auth = new UserStore(options.users ?? {}, systemClock)
  const { electorate, clock = systemClock } = options
  const server = new ReplicationServer({
    ...context,
    ...IDENTITY,
    clock,
    replicas,
    auth,
    electorate,
  })
  const listener = await Listener.open({
    ...{ host: '127.0.0.1', port: options.port ?? 0, name: 'replication', limits: GENEROUS_LIMITS },
    ...{ log, clock: systemClock },
  })
  listener.serve(server)
  let deafening: Promise<void> | undefined
  const deafen = (): Promise<void> => {
    deafening ??= server.close(100).then(() => listener.close())
    return deafening
  }
  const close = async (): Promise<void> => {
    await deafen()
    replicas.close()
    await store.close()
  }
  t.teardown(close)
  const address = `127.0.0.1:${listener.port}`
  return { store, replicas, log, directory, numbers, address, deafen, close }
}

export interface SlaveOptions {
  readonly directory?: string
  readonly identity?: Partial<SlaveIdentity>
  readonly credentials?: { readonly accessKey: string; readonly secretKey: string }
  /** What the slave takes frames into, in place of the store's own. */
  readonly into?: (own: Replication) => Replication
  readonly isOver?: SlaveContext['isOver']
  readonly store?: Partial<StoreOptions>
}

export interface TestSlave {
  readonly store: MessageStore
  readonly slave: Slave
  readonly log: LogLines
  readonly directory: string
  /** Has all that the master has synced. */
  caughtUp(master: TestMaster): Promise<void>
  close(): Promise<void>
}

/** `master`: host:port. */
export async function startSlave(
  t: Teardown,
  master: string,
  options: SlaveOptions = {},
): Promise<TestSlave> {
  const directory = options.directory ?? (await tempDir(t))
  const log = new LogLines()
  const { credentials } = options
  const common = {
    identity: { ...IDENTITY, brokerId: 1, ...options.identity },
    master: () => ({ address: master, clock: systemClock, credentials }),
    clock: systemClock,
    log,
  }
  const store = await openCopy({
    ...common,
    signal: new AbortController().signal,
    logId: logIdIn(directory),
    open: (follows) => openOf(directory, log, follows, options.store),
    empty: () => emptyDataDirectory(directory),
  })
  const replication = options.into?.(store.replication) ?? store.replication
  const { isOver } = options
  const over = isOver === undefined ? {} : { isOver }
  const slave = new Slave({ ...common, ...over, replication, numbers: new Numbers() })
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= slave.close().then(() => store.close())
    return closing
  }
  t.teardown(close)
  const caughtUp = async (of: TestMaster): Promise<void> => {
    await eventually(async () => store.replication.syncedEnd === of.store.replication.syncedEnd)
  }
  return { store, slave, log, directory, caughtUp, close }
}

/** Every byte of both logs, from where both have them on, by their sums. */
export async function sameBytes(one: MessageStore, other: MessageStore): Promise<boolean> {
  const [a, b] = [one.replication, other.replication]
  if (a.syncedEnd !== b.syncedEnd) return false
  const pieceBytes = 64 * 1024
  for (let at: number = Math.max(a.start, b.start); at < a.syncedEnd; at += pieceBytes) {
    const from = logPosition(at)
    const to = logPosition(Math.min(at + pieceBytes, a.syncedEnd))
    const sums = [await a.checksum(from, to), await b.checksum(from, to)]
    if (sums[0] === undefined || sums[0] !== sums[1]) return false
  }
  return true
}
