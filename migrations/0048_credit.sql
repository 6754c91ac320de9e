-- Prepaid credit: what a tenant has, and a double-entry ledger of how it came and went.

-- +goose Up
-- Credit that a tenant was given, and what is left of it. Only that changes.
create table credit_grant (
    tenant_id      text not null references tenant,
    grant_id       text not null,
    kind           text not null check (kind in ('paid', 'promotional', 'credit_note')),
    currency       text not null,
    amount         bigint not null check (amount > 0), -- minor units
    remaining      bigint not null check (remaining between 0 and amount), -- the sum of its entries for the customer
    expires_at     timestamptz, -- null: never
    reason         text not null check (reason <> ''),
    credit_note_id text, -- whose amount it is
    granted_at     timestamptz not null default clock_timestamp(),
    granted_by     text not null, -- as in audit_entry.actor
    primary key (tenant_id, grant_id),
    unique (tenant_id, grant_id, currency),
    unique (tenant_id, credit_note_id),
    foreign key (tenant_id, credit_note_id) references credit_note,
    check ((kind = 'credit_note') = (credit_note_id is not null)),
    constraint credit_grant_expiry check (expires_at > granted_at)
);
create index credit_grant_left on credit_grant (tenant_id, currency) where remaining > 0;
create index credit_grant_expires on credit_grant (expires_at) where remaining > 0;
select isolate('credit_grant');

create table credit_transaction (
    tenant_id      text not null references tenant,
    transaction_id text not null,
    number         bigint generated always as identity, -- the order in which they came
    kind           text not null check (kind in ('grant', 'use', 'expiry', 'withdrawal')),
    currency       text not null,
    invoice_id     text, -- that it pays
    reason         text not null default '',
    at             timestamptz not null default clock_timestamp(),
    actor          text not null, -- as in audit_entry.actor
    primary key (tenant_id, transaction_id),
    unique (tenant_id, transaction_id, currency),
    unique (tenant_id, number),
    unique (tenant_id, invoice_id),
    foreign key (tenant_id, invoice_id) references invoice,
    check ((kind = 'use') = (invoice_id is not null)),
    check (kind <> 'withdrawal' or reason <> '')
);
select isolate('credit_transaction');

-- Each transaction moves credit from accounts to others: its entries sum to zero. The
-- account 'customer' is what the tenant has; the others say where it came from and went.
create table credit_entry (
    tenant_id      text not null references tenant,
    transaction_id text not null,
    grant_id       text not null, -- whose credit moves
    account        text not null check (account in ('customer', 'paid', 'promotional', 'credit_note', 'invoice', 'expired')),
    currency       text not null,
    amount         bigint not null check (amount <> 0),
    primary key (tenant_id, transaction_id, grant_id, account),
    foreign key (tenant_id, transaction_id, currency) references credit_transaction (tenant_id, transaction_id, currency),
    foreign key (tenant_id, grant_id, currency) references credit_grant (tenant_id, grant_id, currency)
);
create index credit_entry_grant on credit_entry (tenant_id, grant_id);
select isolate('credit_entry');

revoke insert, update, delete on credit_grant, credit_transaction, credit_entry from hibari_request;
revoke update, delete on credit_transaction, credit_entry from hibari_worker;
revoke delete on credit_grant from hibari_worker;

-- The database itself keeps the ledger, whoever asks.
-- +goose StatementBegin
create function credit_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the credit ledger is append-only' using errcode = 'insufficient_privilege';
end $$;
create function credit_grant_keep() returns trigger language plpgsql as $$
begin
    if to_jsonb(new) - 'remaining' <> to_jsonb(old) - 'remaining' then
        raise exception 'credit % stands as it was granted', old.grant_id using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
-- Looked at when the database transaction ends: what has been written by then must fit.
create function credit_balanced() returns trigger language plpgsql as $$
begin
    if tg_table_name <> 'credit_grant' then
        perform from credit_entry where tenant_id = new.tenant_id and transaction_id = new.transaction_id having sum(amount) = 0;
        if not found then
            raise exception 'the entries of credit transaction % do not sum to zero', new.transaction_id using errcode = 'integrity_constraint_violation';
        end if;
    end if;
    if tg_table_name <> 'credit_transaction' then
        perform from credit_grant g where tenant_id = new.tenant_id and grant_id = new.grant_id and remaining = (
            select sum(e.amount) from credit_entry e where e.tenant_id = g.tenant_id and e.grant_id = g.grant_id and e.account = 'customer');
        if not found then
            raise exception 'credit % has another amount left than its entries say', new.grant_id using errcode = 'integrity_constraint_violation';
        end if;
    end if;
    return null;
end $$;
-- +goose StatementEnd
create trigger append_only before update or delete or truncate on credit_transaction for each statement execute function credit_append_only();
create trigger append_only before update or delete or truncate on credit_entry for each statement execute function credit_append_only();
create trigger append_only before delete or truncate on credit_grant for each statement execute function credit_append_only();
create trigger keep before update on credit_grant for each row execute function credit_grant_keep();
create constraint trigger balanced after insert or update on credit_grant deferrable initially deferred for each row execute function credit_balanced();
create constraint trigger balanced after insert on credit_transaction deferrable initially deferred for each row execute function credit_balanced();
create constraint trigger balanced after insert on credit_entry deferrable initially deferred for each row execute function credit_balanced();

-- +goose Down
drop table credit_entry, credit_transaction, credit_grant;
drop function credit_balanced, credit_grant_keep, credit_append_only;
