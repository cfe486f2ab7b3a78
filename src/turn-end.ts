// The end of an event-loop turn, where the log is written and what was answered goes to the
// sockets. An answer to what the end of a turn made durable goes out in the same turn: a round of
// the event loop later a client with one message in flight would wait for nothing.
let isEnding = false

/** In the order of the calls. */
export function atTurnEnd(fn: () => void): void {
  setImmediate(() => {
    if (!isEnding) {
      isEnding = true
      afterAnswers(hasEnded)
    }
    fn()
  })
}

/** At the end of this turn; while that is under way, behind what it is answered with. */
export function afterTurnEnd(fn: () => void): void {
  if (isEnding) afterAnswers(fn)
  else setImmediate(fn)
}

/** A tick comes when no promise is left that is settled and has not been told. */
const afterAnswers = (fn: () => void): void => queueMicrotask(() => process.nextTick(fn))

const hasEnded = (): void => {
  isEnding = false
}
