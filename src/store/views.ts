// Everything derived from the log, as one thing that can be built, dropped and built again.

import type { BlockStore } from './consume-queue.ts'
import { DueIndex } from './due-index.ts'
import { FactTable } from './fact-table.ts'
import { KeyIndex } from './key-index.ts'
import { LightQueues } from './light-queues.ts'
import { QueueTable } from './queue-table.ts'

const inMemory: BlockStore = {
  load: () => undefined,
  opened() {},
  changed() {},
}

export class Views {
  readonly queues: QueueTable
  readonly light: LightQueues
  readonly facts = new FactTable()
  readonly due = new DueIndex()
  readonly keys = new KeyIndex()
  /** Every record before this log position is in the views. */
  mark = 0
  #nextNumber = 1

  constructor() {
    const number = (): number => this.#nextNumber++
    this.queues = new QueueTable(inMemory, number)
    this.light = new LightQueues(inMemory, inMemory, number)
  }
}
