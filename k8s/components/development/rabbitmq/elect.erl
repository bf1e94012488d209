%% A RabbitMQ node evaluates this when it starts, and from then on has its quorum queues elect the leaders that they
%% lack (docs/adr/0008-subscription-repair.md):
%%
%%   RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-eval ok=file:eval("/etc/rabbitmq/elect.erl")'
%%
%% A node that is killed within seconds of a queue's declaration may come back with a member of the queue that never
%% elects. Only members of this node are looked at. In a cluster without a majority an election comes to nothing, and
%% does no harm.

Pause = 3000, % a queue is told to elect when two looks in a row find no leader

Leaderless = fun() ->
    [{Name, rabbit_misc:rs(amqqueue:get_name(Queue))}
     || rabbit:is_running(),
        Queue <- rabbit_amqqueue:list_local_quorum_queues(),
        {Name, _} <- [amqqueue:get_pid(Queue)],
        ra_leaderboard:lookup_leader(Name) =:= undefined]
end,

Say = fun(Format, Values) -> logger:warning(Format, Values, #{domain => [rabbitmq, queue]}) end,

Elect = fun({Name, Queue}) ->
    Say("~ts has no leader: told to elect one", [Queue]),
    try ra:trigger_election({Name, node()})
    catch _:Reason -> Say("~ts could not be told: ~tp", [Queue, Reason])
    end
end,

Look = fun(Before) ->
    try Leaderless() of
        Now -> [Elect(Queue) || Queue <- Now, Before =/= failed, lists:member(Queue, Before)], Now
    catch
        _:_ when Before =:= failed -> failed;
        _:Reason -> Say("looking for queues without a leader failed: ~tp", [Reason]), failed
    end
end,

spawn(fun() ->
    (fun Watch(Before) ->
        timer:sleep(Pause),
        Watch(Look(Before))
    end)([])
end).
