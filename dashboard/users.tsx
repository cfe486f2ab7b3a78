// Users and their rights: those of the configuration to be looked at, the others to be changed.
import { useState } from 'preact/hooks'
import { get, part, send } from './api.js'
import { Confirm } from './confirm.js'
import { Field, Problem, Table, useLoaded } from './parts.js'

interface Entry {
  readonly resource: string
  readonly actions: readonly string[]
  readonly decision: string
}

interface User {
  readonly name: string
  readonly admin: boolean
  readonly enabled: boolean
  /** In the configuration, which is the only place to change it. */
  readonly isConfigured: boolean
  readonly policies: readonly { readonly policyType: string; readonly entries: readonly Entry[] }[]
}

const useUsers = () => useLoaded(() => get<{ readonly users: readonly User[] }>('users'), [])

export function Users() {
  const { value, error, again } = useUsers()
  return (
    <section>
      <h1>Users</h1>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Users and where they are kept"
            head={['User', 'Kept in', 'Admin', 'State', 'Rights']}
            empty="There are no users: every client may do everything."
            rows={value.users.map((user) => [
              <a key="name" href={`#/users/${part(user.name)}`}>
                {user.name}
              </a>,
              user.isConfigured ? 'configuration' : 'broker',
              user.admin ? 'yes' : 'no',
              user.enabled ? 'enabled' : 'disabled',
              user.admin ? 'all' : user.policies.flatMap(({ entries }) => entries).length,
            ])}
          />
          {value.users.some(({ isConfigured, admin }) => isConfigured && admin) ? (
            <NewUser done={again} />
          ) : (
            <p class="empty">Users are made here once the configuration has an admin.</p>
          )}
        </>
      )}
    </section>
  )
}

function NewUser({ done }: { readonly done: () => void }) {
  const [name, setName] = useState('')
  const [password, setPassword] = useState('')
  const [admin, setAdmin] = useState(false)
  const [error, setError] = useState<Error | undefined>(undefined)
  const create = async (): Promise<void> => {
    try {
      await send('POST', 'users', { name, password, admin })
      setError(undefined)
      setName('')
      setPassword('')
      setAdmin(false)
      done()
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void create()
      }}
    >
      <h2>New user</h2>
      <div class="row">
        <Field label="Name" value={name} onInput={setName} required />
        <Field
          label="Its password"
          type="password"
          value={password}
          onInput={setPassword}
          autoComplete="new-password"
          required
        />
        <label class="check">
          <input type="checkbox" checked={admin} onChange={() => setAdmin(!admin)} />
          <span>Admin: may do everything</span>
        </label>
        <button type="submit">Create</button>
      </div>
      <Problem error={error} />
    </form>
  )
}

export function UserPage({ name }: { readonly name: string }) {
  const { value, error, again } = useUsers()
  const user = value?.users.find((one) => one.name === name)
  return (
    <section>
      <h1>{name}</h1>
      <Problem error={error} />
      {value !== undefined && user === undefined && <p class="problem">There is no such user.</p>}
      {user !== undefined && (
        <>
          <p>
            {user.admin ? 'An admin: may do everything. ' : ''}
            {user.isConfigured
              ? 'It is kept in the configuration, where it can be changed.'
              : `It is ${user.enabled ? 'enabled' : 'disabled'}.`}
          </p>
          {!user.isConfigured && <Change user={user} done={again} />}
          <Rights user={user} done={again} />
        </>
      )}
    </section>
  )
}

interface UserProps {
  readonly user: User
  readonly done: () => void
}

function Change({ user: { name, admin, enabled }, done }: UserProps) {
  const path = `users/${part(name)}`
  const [password, setPassword] = useState('')
  const [said, setSaid] = useState('')
  const [error, setError] = useState<Error | undefined>(undefined)
  const change = async (given: object, news: string): Promise<void> => {
    try {
      await send('PATCH', path, given)
      setError(undefined)
      setPassword('')
      setSaid(news)
      done()
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  const newType = `${name} is ${admin ? 'no admin' : 'an admin'} now.`
  return (
    <>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault()
          void change({ password }, `The password of ${name} was changed.`)
        }}
      >
        <Field
          label="New password"
          type="password"
          value={password}
          onInput={setPassword}
          autoComplete="new-password"
          required
        />
        <button type="submit">Change the password</button>
        <button
          type="button"
          onClick={() =>
            void change({ enabled: !enabled }, `${name} is ${enabled ? 'disabled' : 'enabled'}.`)
          }
        >
          {enabled ? 'Disable' : 'Enable'}
        </button>
        <button type="button" onClick={() => void change({ admin: !admin }, newType)}>
          {admin ? 'Make it no admin' : 'Make it an admin'}
        </button>
      </form>
      <p role="status">{said}</p>
      <Problem error={error} />
      <Confirm
        label="Delete the user"
        title={`Delete the user ${name}?`}
        act={async () => {
          await send('DELETE', path)
          location.hash = '#/users'
        }}
      >
        <p>
          Its password and all of its rights are lost, and its connections end. What it stored
          stays.
        </p>
      </Confirm>
    </>
  )
}

function Rights({ user: { name, isConfigured, policies }, done }: UserProps) {
  const entries = policies.flatMap(({ policyType, entries }) =>
    entries.map((entry) => ({ policyType, ...entry })),
  )
  const take = (policyType: string, resource: string): Promise<void> => {
    const asked = new URLSearchParams({ policyType, resource })
    return send<void>('DELETE', `users/${part(name)}/rights?${asked}`).then(done)
  }
  return (
    <>
      <h2>Rights</h2>
      <Table
        caption="What it may do, and with what"
        head={['Resource', 'Actions', 'Decision', 'Policy', '']}
        empty="No rights were given."
        rows={entries.map(({ policyType, resource, actions, decision }) => [
          resource,
          actions.join(', '),
          decision,
          policyType,
          !isConfigured && (
            <Confirm
              key="take"
              label="Take away"
              about={resource}
              title={`Take the rights on ${resource} from ${name}?`}
              act={() => take(policyType, resource)}
            >
              <p>{`The entry "${decision} ${actions.join(', ')}" is lost, and the connections of ${name} end: its clients log in again.`}</p>
            </Confirm>
          ),
        ])}
      />
      {!isConfigured && <Give name={name} done={done} />}
    </>
  )
}

const ACTIONS = ['Pub', 'Sub', 'Create', 'Update', 'Delete', 'Get', 'List'] as const

function Give({ name, done }: { readonly name: string; readonly done: () => void }) {
  const [resource, setResource] = useState('')
  const [actions, setActions] = useState<readonly string[]>([])
  const [decision, setDecision] = useState('Allow')
  const [error, setError] = useState<Error | undefined>(undefined)
  const give = async (): Promise<void> => {
    try {
      const entries = [{ resource, actions, decision }]
      await send('PUT', `users/${part(name)}/rights`, { entries })
      setError(undefined)
      setResource('')
      setActions([])
      done()
    } catch (thrown) {
      setError(thrown as Error)
    }
  }
  const toggle = (action: string): void => {
    const others = actions.filter((one) => one !== action)
    setActions(others.length < actions.length ? others : [...actions, action])
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void give()
      }}
    >
      <div class="row">
        <Field
          label="Resource: Topic:orders, Group:billing-*, Cluster:*"
          value={resource}
          onInput={setResource}
          required
        />
        <label>
          <span>Decision</span>
          <select value={decision} onChange={(event) => setDecision(event.currentTarget.value)}>
            <option>Allow</option>
            <option>Deny</option>
          </select>
        </label>
      </div>
      <fieldset class="row">
        <legend>Actions</legend>
        {ACTIONS.map((action) => (
          <label key={action} class="check">
            <input
              type="checkbox"
              checked={actions.includes(action)}
              onChange={() => toggle(action)}
            />
            <span>{action}</span>
          </label>
        ))}
      </fieldset>
      <button type="submit">Give rights</button>
      <Problem error={error} />
    </form>
  )
}
