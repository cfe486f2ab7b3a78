// Messages of a topic: found, looked at, sent.
import { useState } from 'preact/hooks'
import { get, type Message, part, send } from './api.js'
import { Choice, count, Field, Problem, Table, time, useLoaded } from './parts.js'
import { Trail } from './trail.js'

const WAYS = {
  newest: 'The newest',
  key: 'By key',
  id: 'By id',
  fromMs: 'Stored from (UTC)',
} as const
type Way = keyof typeof WAYS

const bodyOf = (message: Message): string =>
  message.body ?? message.bodyError ?? `base64: ${message.bodyBase64 ?? ''}`

export function Browse({ topic }: { readonly topic: string }) {
  const [way, setWay] = useState<Way>('newest')
  const [text, setText] = useState('')
  const [asked, setAsked] = useState<Readonly<Record<string, string | number>>>({})
  const { value, error, again } = useLoaded(
    () => get<{ messages: readonly Message[] }>(`topics/${part(topic)}/messages`, asked),
    [topic, asked],
    false,
  )
  const [shown, setShown] = useState<Message | undefined>(undefined)
  const search = (): void => {
    setShown(undefined)
    if (way === 'newest') setAsked({})
    else if (way === 'fromMs') setAsked({ fromMs: Date.parse(`${text}Z`) || 0 })
    else setAsked({ [way]: text })
    again()
  }
  return (
    <>
      <h2>Messages</h2>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault()
          search()
        }}
      >
        <Choice label="Find" value={way} choices={WAYS} onChange={setWay} />
        {way !== 'newest' && (
          <Field
            label={WAYS[way]}
            type={way === 'fromMs' ? 'datetime-local' : 'text'}
            value={text}
            onInput={setText}
            required
          />
        )}
        <button type="submit">Search</button>
      </form>
      <Problem error={error} />
      {value !== undefined && (
        <Table
          caption="Messages found"
          head={['Stored (UTC)', 'Queue', 'Offset', 'Tag', 'Keys', 'Body']}
          figures={[1, 2]}
          empty="No message was found."
          rows={value.messages.map((message) => [
            <button
              key="open"
              type="button"
              class="link"
              aria-label={`${time(message.storedMs)}: show message ${message.messageId}`}
              onClick={() => setShown(message)}
            >
              {time(message.storedMs)}
            </button>,
            message.queueId,
            count(message.queueOffset),
            message.tag ?? '-',
            message.keys.join(' ') || '-',
            <code key="body" class="preview">
              {bodyOf(message).slice(0, 80)}
            </code>,
          ])}
        />
      )}
      {shown !== undefined && (
        <>
          <MessageView key={shown.offsetMessageId} preview={shown} />
          <Trail key={`trail ${shown.offsetMessageId}`} topic={topic} message={shown} />
        </>
      )}
    </>
  )
}

export function MessageView({ preview }: { readonly preview: Message }) {
  const { value = preview, error } = useLoaded(
    () => get<Message>(`messages/${preview.offsetMessageId}`),
    [preview.offsetMessageId],
    false,
  )
  const facts: readonly (readonly [string, string])[] = [
    ['Id', value.messageId],
    ['Stored at', value.offsetMessageId],
    ['Queue and offset', `${value.queueId} / ${value.queueOffset}`],
    ['Stored (UTC)', time(value.storedMs)],
    ['Sent (UTC)', time(value.bornMs)],
    ['Tag', value.tag ?? '-'],
    ['Keys', value.keys.join(' ') || '-'],
    ['Ordering key', value.orderingKey ?? '-'],
    ...Object.entries(value.properties),
  ]
  return (
    <article aria-label={`Message ${value.messageId}`}>
      <h3>Message</h3>
      <Problem error={error} />
      <dl>
        {facts.map(([name, text]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <label>
        <span>Body ({count(value.bodyBytes)} bytes)</span>
        <textarea readOnly rows={8} value={bodyOf(value)} />
      </label>
    </article>
  )
}

export function Publish({ topic }: { readonly topic: string }) {
  const [body, setBody] = useState('')
  const [tag, setTag] = useState('')
  const [keys, setKeys] = useState('')
  const [sent, setSent] = useState('')
  const [error, setError] = useState<Error | undefined>(undefined)
  const publish = async (): Promise<void> => {
    setSent('')
    const words = keys.split(/\s+/).filter((key) => key !== '')
    try {
      const { messageId } = await send<{ messageId: string }>(
        'POST',
        `topics/${part(topic)}/messages`,
        { body, ...(tag !== '' && { tag }), ...(words.length > 0 && { keys: words }) },
      )
      setError(undefined)
      setSent(`Stored as ${messageId}.`)
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  return (
    <>
      <h2>Send a message</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void publish()
        }}
      >
        <label>
          <span>Body</span>
          <textarea rows={4} value={body} onInput={(event) => setBody(event.currentTarget.value)} />
        </label>
        <div class="row">
          <Field label="Tag" value={tag} onInput={setTag} />
          <Field label="Keys, with blanks between" value={keys} onInput={setKeys} />
          <button type="submit">Send</button>
        </div>
        <p role="status">{sent}</p>
        <Problem error={error} />
      </form>
    </>
  )
}
