// A slave that is to be the master, by hand: a request of ours, which Apache's brokers do not know.
import { bool, int, layout } from '../layout.ts'

export const PROMOTE = layout({
  /** Also when acknowledged messages may be lost by it. */
  force: bool,
})

export const PROMOTE_ANSWER = layout({
  /** That it is the master in. */
  epoch: int,
})
