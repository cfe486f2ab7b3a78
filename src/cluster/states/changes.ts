// State that changes together with messages, before a cluster: there is no append of both, so the
// order is the one in which a crash costs least. State of no message goes first; that of a message
// follows once the message is stored, and both are acknowledged after it.
import { BrokerError } from '../../errors.ts'
import type { NewMessage, PublishResult } from '../../model/message.ts'
import type { StateChange, StateGuard } from '../../model/state.ts'
import type { Lookup } from '../../port/broker.ts'
import type { ClusterStates } from './states.ts'

interface Parts {
  readonly states: ClusterStates
  readonly lookup: Lookup
  publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]>
}

export async function publishWith(
  { states, lookup, publish }: Parts,
  messages: readonly NewMessage[],
  changes: readonly StateChange[],
): Promise<readonly PublishResult[]> {
  checkOrder(changes, messages.length)
  for (const change of changes) states.check(change)
  const copies = changes.map((change) =>
    change.state instanceof Uint8Array ? { ...change, state: Buffer.from(change.state) } : change,
  )
  const first = copies.filter(({ message }) => message === undefined)
  // Both begin within the call, as the port keeps the order of the calls.
  const changing = Promise.all(first.map((change) => make(states, change, change.state)))
  if (first.length > 0) await changing
  const results = await publish(messages)
  await Promise.all(
    copies.map(async (change) => {
      if (change.message === undefined) return
      const result = results[change.message]!
      if (result instanceof BrokerError) return
      const state =
        change.state === 'message'
          ? ((await lookup.byPosition(result.brokerName, result.position)) ?? null)
          : change.state
      await make(states, change, state)
    }),
  )
  return results
}

async function make(
  states: ClusterStates,
  { id, expected, claim }: StateChange,
  state: StateChange['state'],
): Promise<void> {
  const guard: StateGuard = { expected, claim }
  if (state === null) await states.delete(id, guard)
  else await states.save(id, state as Uint8Array, guard)
}

/** @throws ARGUMENT_INVALID */
function checkOrder(changes: readonly StateChange[], messages: number): void {
  let last = -1
  for (const { message = -1, state } of changes) {
    const isPossible = message >= last && message < messages
    if (isPossible && (state !== 'message' || message >= 0)) {
      last = message
      continue
    }
    throw new BrokerError(
      'ARGUMENT_INVALID',
      "states of no message come first, then those of messages, in the messages' order",
    )
  }
}
