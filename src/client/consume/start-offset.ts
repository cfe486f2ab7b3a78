// Where a member begins to read a queue: where its group stopped, else as its subscription says.
import { isRetryTopic } from '../../model/names.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { type CallOptions, committedOffset, endOffset, offsetByTime } from '../calls/calls.ts'

/** Where a group without a committed offset starts. */
export type StartAt = 'first' | 'last' | { readonly timestampMs: number }

export interface StartOffset {
  readonly offset: number
  /** The broker has the group there already. */
  readonly isCommitted: boolean
}

/**
 * @param group undefined in broadcasting: nothing is committed there
 * @param isNew the queue appeared after the subscription, so nothing in it is older than that
 */
export async function startOffset(
  connection: RemotingConnection,
  group: string | undefined,
  queue: QueueRef,
  from: StartAt,
  isNew: boolean,
  options: CallOptions,
): Promise<StartOffset> {
  if (group !== undefined) {
    const committed = await committedOffset(connection, group, queue, options)
    if (committed !== undefined && committed >= 0) return { offset: committed, isCommitted: true }
  }
  const offset = await firstOffset(connection, queue, isNew ? 'first' : from, options)
  return { offset, isCommitted: false }
}

function firstOffset(
  connection: RemotingConnection,
  queue: QueueRef,
  from: StartAt,
  options: CallOptions,
): Promise<number> {
  if (from === 'first' || isRetryTopic(queue.topic)) {
    return endOffset(connection, 'min', queue, options)
  }
  if (from === 'last') return endOffset(connection, 'max', queue, options)
  return offsetByTime(connection, queue, from.timestampMs, options)
}
