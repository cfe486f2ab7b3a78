// Appends that carry a group's whole place on a queue: one at a time for each queue, since each
// states what those before it have settled, as if they could not fail any more.
import type { GroupQueue } from './held/group-queue.ts'

export class QueueLanes {
  /** The end of the work that was asked for last, of the queues that have some. */
  readonly #last = new Map<GroupQueue, Promise<void>>()

  /** Runs the work when what was asked for before is done on all of the queues; at once if so. */
  async run<T>(queues: ReadonlySet<GroupQueue>, work: () => Promise<T>): Promise<T> {
    const before: Promise<void>[] = []
    let end = (): void => {}
    const mine = new Promise<void>((resolve) => {
      end = resolve
    })
    for (const queue of queues) {
      const last = this.#last.get(queue)
      if (last !== undefined) before.push(last)
      this.#last.set(queue, mine)
    }
    if (before.length > 0) await Promise.all(before)
    try {
      return await work()
    } finally {
      for (const queue of queues) if (this.#last.get(queue) === mine) this.#last.delete(queue)
      end()
    }
  }
}
