// AMQP's outcomes in the broker's words (accepted = ack, modified = nack, and so on).
import type { Verdict } from '../../../model/message.ts'
import type { Outcome } from '../codec/disposition.ts'

export function verdictOf(outcome: Outcome, nowMs: number): Verdict {
  switch (outcome.kind) {
    case 'accepted':
      return ACK
    case 'released':
      return RELEASE
    case 'rejected':
      return { kind: 'deadLetter', reason: outcome.reason }
    case 'modified': {
      const { failed, deliverAtMs } = outcome
      const delayMs = deliverAtMs === undefined ? outcome.delayMs : Math.max(0, deliverAtMs - nowMs)
      // Without a count there is no delayed redelivery, so a delay counts too.
      return failed || delayMs !== undefined
        ? { kind: 'nack', delayMs, handBack: outcome }
        : { kind: 'release', handBack: outcome }
    }
  }
}

const ACK: Verdict = { kind: 'ack' }
const RELEASE: Verdict = { kind: 'release' }
