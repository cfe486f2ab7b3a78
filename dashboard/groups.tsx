// Consumer groups: the list, and one of them with its members, places and dead letters.
import { useState } from 'preact/hooks'
import { type DescribedGroup, type Group, get, type Message, type Page, part, send } from './api.js'
import { Deletion } from './confirm.js'
import { MessageView } from './messages.js'
import { count, Field, Filters, Problem, Table, time, useLoaded, usePages } from './parts.js'
import { Reset } from './reset.js'

export function Groups() {
  const [contains, setContains] = useState('')
  const { value, error, pager } = usePages<{ groups: readonly Group[] } & Page>('groups', {
    contains,
  })
  return (
    <section>
      <h1>Groups</h1>
      <Filters>
        <Field label="Name contains" value={contains} onInput={setContains} />
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Groups by name"
            head={['Group', 'Members', 'Lag', 'In flight']}
            figures={[1, 2, 3]}
            empty="There are no groups; the first consumer makes one."
            rows={value.groups.map((group) => [
              <a key="name" href={`#/groups/${part(group.name)}`}>
                {group.name}
              </a>,
              group.members,
              count(group.lag),
              count(group.inFlight),
            ])}
          />
          {pager}
        </>
      )}
    </section>
  )
}

export function GroupPage({ name }: { readonly name: string }) {
  const path = `groups/${part(name)}`
  const { value, error, again } = useLoaded(() => get<DescribedGroup>(path), [path])
  return (
    <section>
      <h1>{name}</h1>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <p>
            Lag: <strong>{count(value.lag)}</strong>, in flight:{' '}
            <strong>{count(value.inFlight)}</strong>
          </p>
          <h2>Members</h2>
          <Table
            caption="Connected members"
            head={['Client', 'Protocol', 'Address', 'Language', 'Reads', 'Topics']}
            empty="No member is connected."
            rows={value.members.map((member) => [
              member.clientId,
              member.protocol,
              member.address,
              member.language || '-',
              member.mode,
              member.topics.join(', '),
            ])}
          />
          <h2>Places</h2>
          <Table
            caption="Place in each queue"
            head={['Topic', 'Queue', 'Committed', 'End', 'Lag', 'In flight']}
            figures={[1, 2, 3, 4, 5]}
            empty="It never consumed anything."
            rows={value.queues.map((queue) => [
              <a key="topic" href={`#/topics/${part(queue.topic)}`}>
                {queue.topic}
              </a>,
              queue.queueId,
              queue.committedOffset < 0 ? '-' : count(queue.committedOffset),
              count(queue.maxOffset),
              count(queue.lag),
              count(queue.inFlight),
            ])}
          />
          <Reset group={name} queues={value.queues} done={again} />
        </>
      )}
      <DeadLetters key={name} group={name} />
      {value !== undefined && <Delete group={value} />}
    </section>
  )
}

function Delete({ group: { name, queues, members } }: { readonly group: DescribedGroup }) {
  const [keeps, setKeeps] = useState(false)
  const waiting = queues.filter(({ topic }) => topic === `%RETRY%${name}`)
  const places = queues.length - waiting.length
  const retries = waiting.reduce((sum, { lag }) => sum + lag, 0)
  return (
    <Deletion kind="group" name={name} query={`?keepOffsets=${keeps}`}>
      <ul>
        <li>its definition</li>
        <li>{count(retries)} messages that wait to be tried again</li>
        {!keeps && <li>its place in {count(places)} queues</li>}
      </ul>
      <p>
        {members.length > 0 &&
          `It has ${count(members.length)} connected members, which may make it again. `}
        The messages of its topics and its dead letters stay.
      </p>
      <label class="check">
        <input type="checkbox" checked={keeps} onChange={() => setKeeps(!keeps)} />
        <span>Keep its places for a group of the same name</span>
      </label>
    </Deletion>
  )
}

function DeadLetters({ group }: { readonly group: string }) {
  const path = `groups/${part(group)}/dead-letters`
  const { value, error } = useLoaded(
    () => get<{ readonly messages: readonly Message[] }>(path),
    [path],
    false,
  )
  const [said, setSaid] = useState('')
  const [failed, setFailed] = useState<Error | undefined>(undefined)
  const [shown, setShown] = useState<Message | undefined>(undefined)
  const replay = async ({ messageId, topic }: Message): Promise<void> => {
    try {
      await send('POST', `${path}/replay`, { ids: [messageId] })
      setFailed(undefined)
      setSaid(`${messageId} was sent to ${topic} again.`)
    } catch (thrown) {
      setFailed(thrown as Error)
    }
  }
  return (
    <>
      <h2>Dead letters</h2>
      <Problem error={failed ?? error} />
      <p role="status">{said}</p>
      {value !== undefined && (
        <Table
          caption="Messages that the group gave up"
          head={['Given up (UTC)', 'Topic', 'Attempts', 'Reason', 'Keys', '']}
          figures={[2]}
          empty="The group gave no message up."
          rows={value.messages.map((message) => [
            <button
              key="open"
              type="button"
              class="link"
              aria-label={`${time(message.storedMs)}: show dead letter ${message.messageId}`}
              onClick={() => setShown(message)}
            >
              {time(message.storedMs)}
            </button>,
            message.topic,
            message.attempt,
            message.reason ?? '-',
            message.keys.join(' ') || '-',
            <button
              key="replay"
              type="button"
              aria-label={`Replay ${message.messageId}`}
              onClick={() => void replay(message)}
            >
              Replay
            </button>,
          ])}
        />
      )}
      {shown !== undefined && <MessageView key={shown.offsetMessageId} preview={shown} />}
    </>
  )
}
