// Topics: the list, and one of them with its queues, groups and messages.
import { useState } from 'preact/hooks'
import { get, type Page, part, type QueueRange, send, type Topic } from './api.js'
import { Deletion } from './confirm.js'
import { Browse, Publish } from './messages.js'
import { count, Field, Filters, Problem, Table, useLoaded, usePages } from './parts.js'

export function Topics() {
  const [contains, setContains] = useState('')
  const [all, setAll] = useState(false)
  const { value, error, again, pager } = usePages<{ topics: readonly Topic[] } & Page>('topics', {
    contains,
    all: String(all),
  })
  return (
    <section>
      <h1>Topics</h1>
      <Filters>
        <Field label="Name contains" value={contains} onInput={setContains} />
        <label class="check">
          <input type="checkbox" checked={all} onChange={() => setAll(!all)} />
          <span>Retry, dead-letter and system topics too</span>
        </label>
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Topics by name"
            head={['Topic', 'Queues', 'Permission', 'Messages', 'Ever stored']}
            figures={[1, 3, 4]}
            empty="There are no topics; the first message makes one."
            rows={value.topics.map((topic) => [
              <a key="name" href={`#/topics/${part(topic.name)}`}>
                {topic.name}
              </a>,
              topic.writeQueues,
              topic.permission,
              count(topic.messages),
              count(topic.stored),
            ])}
          />
          {pager}
        </>
      )}
      <NewTopic done={again} />
    </section>
  )
}

function NewTopic({ done }: { readonly done: () => void }) {
  const [name, setName] = useState('')
  const [queues, setQueues] = useState('8')
  const [error, setError] = useState<Error | undefined>(undefined)
  const create = async (): Promise<void> => {
    try {
      await send('PUT', `topics/${part(name)}`, { queues: Number(queues) })
      setError(undefined)
      setName('')
      done()
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault()
        void create()
      }}
    >
      <Field label="New topic" value={name} onInput={setName} required />
      <Field label="Queues" type="number" value={queues} onInput={setQueues} required />
      <button type="submit">Create</button>
      <Problem error={error} />
    </form>
  )
}

type DescribedTopic = Topic & { readonly queues: readonly QueueRange[] }
interface ConsumingGroup {
  readonly group: string
  readonly lag: number
}

export function TopicPage({ name }: { readonly name: string }) {
  const path = `topics/${part(name)}`
  const topic = useLoaded(() => get<DescribedTopic>(path), [path])
  const groups = useLoaded(
    () => get<{ readonly groups: readonly ConsumingGroup[] }>(`${path}/groups`),
    [path],
    false,
  )
  return (
    <section>
      <h1>{name}</h1>
      <Problem error={topic.error} />
      {topic.value !== undefined && (
        <details open={topic.value.queues.length <= 16}>
          <summary>Queues ({topic.value.queues.length})</summary>
          <Table
            caption="Queues"
            head={['Broker', 'Queue', 'First offset', 'Next offset', 'Messages']}
            figures={[1, 2, 3, 4]}
            empty="It has no queues that can be read."
            rows={topic.value.queues.map((queue) => [
              queue.brokerName,
              queue.queueId,
              count(queue.minOffset),
              count(queue.maxOffset),
              count(queue.maxOffset - queue.minOffset),
            ])}
          />
        </details>
      )}
      <h2>Groups</h2>
      <Problem error={groups.error} />
      {groups.value !== undefined && (
        <Table
          caption="Groups that consume it"
          head={['Group', 'Lag']}
          figures={[1]}
          empty="No group consumes it."
          rows={groups.value.groups.map(({ group, lag }) => [
            <a key="name" href={`#/groups/${part(group)}`}>
              {group}
            </a>,
            count(lag),
          ])}
        />
      )}
      <Browse key={name} topic={name} />
      <Publish key={`send ${name}`} topic={name} />
      {topic.value !== undefined && (
        <Delete topic={topic.value} groups={groups.value?.groups ?? []} />
      )}
    </section>
  )
}

interface DeleteProps {
  readonly topic: DescribedTopic
  readonly groups: readonly ConsumingGroup[]
}

function Delete({ topic: { name, queues }, groups }: DeleteProps) {
  const messages = queues.reduce((sum, { minOffset, maxOffset }) => sum + maxOffset - minOffset, 0)
  return (
    <Deletion kind="topic" name={name}>
      <ul>
        <li>
          {count(messages)} messages in {count(queues.length)} queues
        </li>
        {groups.map(({ group, lag }) => (
          <li key={group}>
            the place of the group {group}
            {lag > 0 && `, which has not consumed ${count(lag)} of them`}
          </li>
        ))}
        <li>what MQTT retains of it</li>
      </ul>
      <p>The next message to the name may make it again, empty.</p>
    </Deletion>
  )
}
