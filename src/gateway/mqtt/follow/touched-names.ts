// The topics that the filters of one session may have messages of. Asked for each filter that goes,
// of a list that a client may have made long.
import { MQTT_CATCH_ALL_TOPIC } from '../../../model/names.ts'
import { firstLevel } from '../packets/topic-name.ts'

export class TouchedNames {
  /** Filters by their first level. */
  readonly #firsts = new Map<string, number>()
  #filters = 0
  /** Those of them whose first level is a wildcard. */
  #wild = 0

  add(filter: string): void {
    const first = firstLevel(filter)
    this.#filters++
    if (isWildcard(first)) this.#wild++
    else this.#firsts.set(first, (this.#firsts.get(first) ?? 0) + 1)
  }

  delete(filter: string): void {
    const first = firstLevel(filter)
    this.#filters--
    if (isWildcard(first)) {
      this.#wild--
      return
    }
    const left = this.#firsts.get(first)! - 1
    if (left === 0) this.#firsts.delete(first)
    else this.#firsts.set(first, left)
  }

  has(topic: string): boolean {
    if (this.#wild > 0 || this.#firsts.has(topic)) return true
    return topic === MQTT_CATCH_ALL_TOPIC && this.#filters > 0
  }
}

export const isWildcard = (level: string): boolean => level === '+' || level === '#'
