// What became of a message: how far each group of its topic is with it, whichever protocol its
// members speak.
import { type DescribedGroup, get, type Message, part, type QueueLag } from './api.js'
import { Problem, Table, useLoaded } from './parts.js'

/** Each is asked for by itself. */
const GROUPS_MAX = 20

interface Step {
  readonly group: string
  readonly protocols: readonly string[]
  readonly state: string
}

interface TrailProps {
  /** Where it is stored. */
  readonly topic: string
  readonly message: Message
}

export function Trail({ topic, message }: TrailProps) {
  const { value, error } = useLoaded(
    () => stepsOf(topic, message),
    [topic, message.offsetMessageId],
  )
  return (
    <>
      <h3>What became of it</h3>
      <Problem error={error} />
      {value !== undefined && (
        <Table
          caption="Groups of its topic, 20 at most, and the message"
          head={['Group', 'Members speak', 'The message']}
          empty="No group consumes its topic. Sessions of MQTT have places of their own."
          rows={value.map(({ group, protocols, state }) => [
            <a key="name" href={`#/groups/${part(group)}`}>
              {group}
            </a>,
            protocols.join(', ') || '-',
            state,
          ])}
        />
      )}
    </>
  )
}

async function stepsOf(topic: string, message: Message): Promise<readonly Step[]> {
  const { groups } = await get<{ readonly groups: readonly { readonly group: string }[] }>(
    `topics/${part(topic)}/groups`,
  )
  const names = groups.map(({ group }) => group).sort()
  return Promise.all(names.slice(0, GROUPS_MAX).map((group) => stepOf(group, topic, message)))
}

async function stepOf(group: string, topic: string, message: Message): Promise<Step> {
  const path = `groups/${part(group)}`
  const [{ members, queues }, dead] = await Promise.all([
    get<DescribedGroup>(path),
    get<{ readonly messages: readonly Message[] }>(`${path}/dead-letters`),
  ])
  const protocols = [...new Set(members.map(({ protocol }) => protocol))]
  const isDead = dead.messages.some(({ messageId }) => messageId === message.messageId)
  const queue = queues.find((one) => one.topic === topic && one.queueId === message.queueId)
  return { group, protocols, state: isDead ? 'given up: a dead letter' : stateIn(queue, message) }
}

function stateIn(queue: QueueLag | undefined, { queueOffset }: Message): string {
  if (queue !== undefined && queue.committedOffset > queueOffset) {
    return 'done with: settled, or on its way to be tried again'
  }
  return queue !== undefined && queue.inFlight > 0
    ? 'not settled; messages of its queue are with members'
    : 'not settled'
}
