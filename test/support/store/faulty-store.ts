// A real store behind a door that the test can close: appends fail, reads come late as from a disk,
// or the process is dead from some append on.
import { BrokerError } from '../../../src/errors.ts'
import type {
  AppendGroup,
  MessageStore,
  ReadRequest,
  ReadResult,
} from '../../../src/store/store.ts'

export interface Faults {
  /** Appends reject as a full disk makes them. */
  isReadOnly: boolean
  /** Called with each append that is rejected so. */
  refused: () => void
  /** Appends asked for so far, and the one from which on none reaches the log and none settles. */
  appends: number
  diesAt: number
  /** Called with the first append that the process did not live to make. */
  died: () => void
  /** Settles when what reached the log before is durable. */
  idle(): Promise<void>
  /** The dead process is to let go: what it still wants from the log fails. */
  bury(): void
  /** Called with each append before the store is. */
  beforeAppend: (group: AppendGroup) => void
  /** Reads answer in a later turn of the event loop. */
  readsAreSlow: boolean
  /** Every slow read rejects. */
  readsFail: boolean
  /** Appends go through again, and the broker hears of it. */
  becomesWritable(): void
  /** How often the store was read so far. */
  reads: number
}

export function faultyStore(store: MessageStore): { store: MessageStore; faults: Faults } {
  const underWay = new Set<Promise<unknown>>()
  const unmade: ((error: BrokerError) => void)[] = []
  let isBuried = false
  const faults: Faults = {
    isReadOnly: false,
    refused: () => {},
    appends: 0,
    diesAt: Number.POSITIVE_INFINITY,
    died: () => {},
    idle: async () => void (await Promise.allSettled([...underWay])),
    bury: () => {
      isBuried = true
      for (const fail of unmade.splice(0)) fail(buried())
    },
    beforeAppend: () => {},
    readsAreSlow: false,
    readsFail: false,
    becomesWritable: () => {
      faults.isReadOnly = false
      heard(true, undefined)
    },
    reads: 0,
  }
  let heard: Parameters<MessageStore['onWritable']>[0] = () => {}
  /** Whatever ends up in the log passes here. */
  const write = <T>(group: AppendGroup, pass: () => Promise<T>): Promise<T> => {
    if (faults.isReadOnly) {
      faults.refused()
      return Promise.reject(new BrokerError('READ_ONLY', 'the disk is full'))
    }
    if (isBuried) return Promise.reject(buried())
    if (faults.appends++ >= faults.diesAt) {
      faults.died()
      return new Promise((_, fail) => unmade.push(fail))
    }
    faults.beforeAppend(group)
    const made = pass()
    underWay.add(made)
    const done = (): void => void underWay.delete(made)
    made.then(done, done)
    return made
  }
  const read = (request: ReadRequest): ReadResult | Promise<ReadResult> => {
    faults.reads++
    return faults.readsAreSlow ? later(() => readNow(request)) : store.read(request)
  }
  const readNow = (request: ReadRequest): ReadResult | Promise<ReadResult> => {
    if (faults.readsFail) throw new BrokerError('STORE_CORRUPT', 'the disk does not read')
    return store.read(request)
  }
  const changed: Partial<MessageStore> = {
    append: (group) => write(group, () => store.append(group)),
    bindLightQueue: (filter, durable, facts = []) =>
      durable
        ? write({ messages: [], facts }, () => store.bindLightQueue(filter, durable, facts))
        : store.bindLightQueue(filter, durable),
    unbindLightQueue: (filter, durable, facts = []) =>
      durable
        ? write({ messages: [], facts }, () => store.unbindLightQueue(filter, durable, facts))
        : store.unbindLightQueue(filter, durable),
    dropQueues: (topic, facts = []) =>
      write({ messages: [], facts }, () => store.dropQueues(topic, facts)),
    onWritable(listener) {
      heard = listener
      store.onWritable(listener)
    },
    read,
  }
  const door = new Proxy(store, {
    get(target, name) {
      if (name in changed) return changed[name as keyof MessageStore]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { store: door, faults }
}

const buried = (): BrokerError => new BrokerError('CLOSED', 'the process is dead')

const later = <T>(answer: () => T | Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        resolve(answer())
      } catch (error) {
        reject(error)
      }
    })
  })
