// One build of the views, and the store it is kept in.
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { logPosition } from '../../model/positions.ts'
import type { CommitLog } from '../log/commit-log.ts'
import type { BlockStore } from './consume-queue.ts'
import { Dispatcher } from './dispatcher.ts'
import type { SealedKeyValue } from './pairs/sealed.ts'
import { Views } from './views.ts'

export interface ViewBuildOptions {
  readonly name: string
  readonly identity: string
  readonly stored: SealedKeyValue
  readonly commitLog: CommitLog
  readonly liveStore: BlockStore
  readonly clock: Clock
  readonly log: Logger
  readonly cachedBlocksMax: number | undefined
  readonly damaged: (build: ViewBuild, error: unknown) => void
}

export class ViewBuild {
  readonly name: string
  readonly identity: string
  readonly stored: SealedKeyValue
  readonly views: Views
  readonly dispatcher: Dispatcher
  readonly #commitLog: CommitLog
  /** Why it is of no use, while it is not the current one. */
  failure: unknown

  constructor(options: ViewBuildOptions) {
    const { name, identity, stored, commitLog, liveStore, clock, log, damaged } = options
    this.name = name
    this.identity = identity
    this.stored = stored
    this.#commitLog = commitLog
    this.views = new Views({
      cachedBlocksMax: options.cachedBlocksMax,
      ...{ stored, identity, liveStore, clock },
      logId: commitLog.id,
      damaged: (error) => {
        this.failure ??= error
        damaged(this, error)
      },
    })
    this.dispatcher = new Dispatcher(this.views, log, () => commitLog.isPassive)
  }

  /** The frames that came in since, within this turn, so that none is missed. */
  catchUp(): void {
    for (const frame of this.#commitLog.replay(logPosition(this.views.mark))) {
      this.dispatcher.apply(frame)
    }
    this.dispatcher.tellTouched(() => {})
  }

  /** Nothing that the log could still lose gets into the store. */
  async save(opening: number, sync: boolean): Promise<void> {
    const { views } = this
    // Entries missing in it would be written as if they had never been.
    if (this.failure !== undefined) throw this.failure
    const { mark } = views
    const batch = await views.save(opening)
    if (this.#commitLog.syncedEnd < mark) {
      await new Promise<void>((resolve, reject) => {
        this.#commitLog.sync((error) => (error === undefined ? resolve() : reject(error)))
      })
    }
    await batch.write(sync)
    views.saved()
  }
}
