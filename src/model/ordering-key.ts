// The queue of an ordering key, for the side that chooses it: a client that routes, or the broker.
import { tagHash } from './tag-filter.ts'

/** One key, one queue; the same queue that Java's SelectMessageQueueByHash takes for a String. */
export const queueOfKey = (key: string, queues: number): number => Math.abs(tagHash(key) % queues)
