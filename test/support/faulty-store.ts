// A real store behind a door that the test can close: appends fail, or reads come late as from a disk.
import { BrokerError } from '../../src/errors.ts'
import type { AppendGroup, MessageStore, ReadRequest, ReadResult } from '../../src/store/store.ts'

export interface Faults {
  /** Appends reject as a full disk makes them. */
  isReadOnly: boolean
  /** Reads answer in a later turn of the event loop. */
  readsAreSlow: boolean
  /** Every slow read rejects. */
  readsFail: boolean
  /** How often the store was read so far. */
  reads: number
}

export function faultyStore(store: MessageStore): { store: MessageStore; faults: Faults } {
  const faults: Faults = { isReadOnly: false, readsAreSlow: false, readsFail: false, reads: 0 }
  const append = (group: AppendGroup) =>
    faults.isReadOnly
      ? Promise.reject(new BrokerError('READ_ONLY', 'the disk is full'))
      : store.append(group)
  const read = (request: ReadRequest): ReadResult | Promise<ReadResult> => {
    faults.reads++
    return faults.readsAreSlow ? later(() => readNow(request)) : store.read(request)
  }
  const readNow = (request: ReadRequest): ReadResult | Promise<ReadResult> => {
    if (faults.readsFail) throw new BrokerError('STORE_CORRUPT', 'the disk does not read')
    return store.read(request)
  }
  const door = new Proxy(store, {
    get(target, name) {
      if (name === 'append') return append
      if (name === 'read') return read
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { store: door, faults }
}

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
