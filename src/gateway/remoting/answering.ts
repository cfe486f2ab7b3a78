// How requests that were gathered over a chunk are answered: most in one piece, those of which
// there is more to say each by itself.
import type { Output } from '../../output.ts'
import type { Asked } from '../../remoting/serving/connection.ts'
import type { Answer, RemotingContext } from './call.ts'

export interface Answering {
  readonly context: RemotingContext
  readonly output: Output
  /** Gives what has an answer of its own. */
  readonly serve: (asked: Asked, answer: Promise<Answer>) => void
  /** Some were answered. */
  readonly onAnswered: () => void
}
