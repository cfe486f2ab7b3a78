// Moving a group in a topic: what it skips, or gets again, is said first.
import { useState } from 'preact/hooks'
import { part, type QueueLag, send } from './api.js'
import { Confirm } from './confirm.js'
import { Choice, count, Field } from './parts.js'

const PLACES = {
  end: 'The end',
  first: 'The first message',
  timeMs: 'Messages stored from (UTC)',
} as const
type Place = keyof typeof PLACES

interface ResetProps {
  readonly group: string
  readonly queues: readonly QueueLag[]
  readonly done: () => void
}

export function Reset({ group, queues, done }: ResetProps) {
  const topics = [...new Set(queues.map(({ topic }) => topic))].filter(
    (name) => name !== `%RETRY%${group}`,
  )
  const [chosen, setTopic] = useState('')
  const [to, setTo] = useState<Place>('end')
  const [since, setSince] = useState('')
  const [said, setSaid] = useState('')
  const topic = topics.includes(chosen) ? chosen : topics[0]
  if (topic === undefined) return null
  const timeMs = Date.parse(`${since}Z`)
  const move = async (): Promise<void> => {
    const place = to === 'timeMs' ? { timeMs } : to
    await send('POST', `groups/${part(group)}/reset`, { topic, to: place })
    setSaid(`${group} was moved in ${topic}.`)
    done()
  }
  return (
    <>
      <h2>Move the group</h2>
      <fieldset class="row">
        <legend>In one topic, all of its queues</legend>
        <label>
          <span>Topic</span>
          <select value={topic} onChange={(event) => setTopic(event.currentTarget.value)}>
            {topics.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <Choice label="To" value={to} choices={PLACES} onChange={setTo} />
        {to === 'timeMs' && (
          <Field label={PLACES[to]} type="datetime-local" value={since} onInput={setSince} />
        )}
        <Confirm
          label="Move"
          title={`Move ${group} in ${topic}?`}
          disabled={to === 'timeMs' && Number.isNaN(timeMs)}
          act={move}
        >
          <p>
            {lossOf(
              to,
              queues.filter((queue) => queue.topic === topic),
            )}
          </p>
          <p>Where it is now is lost. Members that are connected are moved too.</p>
        </Confirm>
      </fieldset>
      <p role="status">{said}</p>
    </>
  )
}

function lossOf(to: Place, queues: readonly QueueLag[]): string {
  let [ahead, behind] = [0, 0]
  for (const { lag, minOffset, committedOffset } of queues) {
    ahead += lag
    behind += Math.max(0, committedOffset - minOffset)
  }
  if (to === 'end') return `${count(ahead)} messages that it has not consumed are skipped.`
  if (to === 'first') return `${count(behind)} messages that it has consumed come again.`
  return (
    `Of the ${count(behind)} messages that it has consumed, those stored from then on come again; ` +
    `of the ${count(ahead)} that it has not, those stored before are skipped.`
  )
}
