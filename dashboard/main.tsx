// The frame around the pages: which one the address names, and who is logged in.
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Amqp } from './amqp.js'
import { ApiError, get, logIn, logOut } from './api.js'
import { Clients } from './clients.js'
import { GroupPage, Groups } from './groups.js'
import { Mqtt, SessionPage } from './mqtt.js'
import { Overview } from './overview.js'
import { Field } from './parts.js'
import { TopicPage, Topics } from './topics.js'
import { UserPage, Users } from './users.js'

const LINKS = [
  ['', 'Overview'],
  ['topics', 'Topics'],
  ['groups', 'Groups'],
  ['clients', 'Clients'],
  ['mqtt', 'MQTT'],
  ['amqp', 'AMQP'],
  ['users', 'Users'],
] as const

const pathOf = (): readonly string[] =>
  location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent)

function App() {
  const [[page = '', name], setPath] = useState(pathOf)
  const [user, setUser] = useState('')
  useEffect(() => {
    const changed = (): void => {
      setPath(pathOf())
      toContent()
    }
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return (
    <>
      <button type="button" class="skip" onClick={toContent}>
        To the content
      </button>
      <header>
        <strong>TrivetMQ</strong>
        <nav aria-label="Pages">
          {LINKS.map(([path, label]) => (
            <a key={path} href={`#/${path}`} aria-current={page === path ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <Login user={user} onUser={setUser} />
      </header>
      <main tabIndex={-1} key={user}>
        <Content page={page} name={name} />
      </main>
    </>
  )
}

const toContent = (): void => document.querySelector('main')?.focus()

function Content({ page, name }: { readonly page: string; readonly name: string | undefined }) {
  if (page === '') return <Overview />
  if (page === 'topics') return name === undefined ? <Topics /> : <TopicPage name={name} />
  if (page === 'groups') return name === undefined ? <Groups /> : <GroupPage name={name} />
  if (page === 'clients') return <Clients />
  if (page === 'amqp') return <Amqp />
  if (page === 'users') return name === undefined ? <Users /> : <UserPage name={name} />
  if (page === 'mqtt') return name === undefined ? <Mqtt /> : <SessionPage clientId={name} />
  return <p class="problem">There is no such page.</p>
}

interface LoginProps {
  readonly user: string
  readonly onUser: (user: string) => void
}

/** Nothing where the broker has no users. */
function Login({ user, onUser }: LoginProps) {
  const [isNeeded, setNeeded] = useState(false)
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [error, setError] = useState('')
  useEffect(() => {
    if (user === '') void isAsked().then(setNeeded)
  }, [user])
  if (user !== '') {
    const leave = (): void => {
      logOut()
      onUser('')
    }
    return (
      <p class="login">
        {user}{' '}
        <button type="button" onClick={leave}>
          Log out
        </button>
      </p>
    )
  }
  if (!isNeeded) return null
  const enter = async (): Promise<void> => {
    logIn(name, password)
    setPassword('')
    const isWrong = await isAsked()
    setError(isWrong ? 'Unknown user or wrong password.' : '')
    if (isWrong) logOut()
    else onUser(name)
  }
  return (
    <form
      class="login"
      onSubmit={(event) => {
        event.preventDefault()
        void enter()
      }}
    >
      <Field label="User" value={name} onInput={setName} autoComplete="username" required />
      <Field
        label="Password"
        type="password"
        value={password}
        onInput={setPassword}
        autoComplete="current-password"
        required
      />
      <button type="submit">Log in</button>
      {error !== '' && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
    </form>
  )
}

/** Does the broker ask for other credentials? */
const isAsked = (): Promise<boolean> =>
  get('topics', { max: 1 }).then(
    () => false,
    (error: Error) => error instanceof ApiError && error.status === 401,
  )

render(<App />, document.querySelector('#app')!)
